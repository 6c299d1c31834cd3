"""Automations that notify people of our runs and warehouses, through a notification block of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.events import AutomationCore, CallWebhook, EventTrigger, Posture, SendNotification
from prefect.exceptions import ObjectNotFound
from prefect.utilities.urls import url_for

from flows.artifacts.events import WarehouseLate, WindowPublished
from flows.runtime.ownership import SYNC_GROUP, TAG
from sku_velocity.errors import ConfigurationError

WEBHOOK = "webhook"  # the type of Prefect's block that is called; others are notified
OF_OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
# A run that a deployment started, except the parts of a fan-out: that names those that have failed.
IN_DEPLOYMENT = {"prefect.resource.role": "deployment"}
WHOLE = {"prefect.resource.role": "flow", "prefect.resource.name": f"!{SYNC_GROUP}"}
# What came from a source may hold a `<`, with which a mention of a Slack channel begins.
LITERAL = "replace('<', '‹')"
PLACE = f"{{{{ event.resource['prefect.resource.name']|{LITERAL} }}}}"


@dataclass(frozen=True)
class Notification:
    """What to notify of: a trigger, and Jinja templates of a subject and a body."""

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str

    def to(self, block: str, document: BlockDocument) -> AutomationCore:
        """Return the automation that sends it through a block."""
        return AutomationCore(
            name=f"{self.name} ({block})",
            description=self.description,
            tags=[TAG],
            trigger=self.trigger,
            actions=[self._action(document)],
        )

    def _action(self, document: BlockDocument) -> SendNotification | CallWebhook:
        if _slug_of(document) != WEBHOOK:
            return SendNotification(
                block_document_id=document.id, subject=f"sku-velocity: {self.subject}", body=self.body
            )
        payload = (
            f"{{% set subject %}}sku-velocity: {self.subject}{{% endset %}}"
            f"{{% set body %}}{self.body}{{% endset %}}"
            '{"subject": {{ subject|tojson }}, "body": {{ body|tojson }}, "event": {{ event.event|tojson }}, '
            '"flow_run_id": {{ (flow_run.id|string)|tojson }}}'
        )
        return CallWebhook(block_document_id=document.id, payload=payload)


def notifications(silent_hours: float) -> list[Notification]:
    """Return what people are notified of. A source is silent if nothing was published in these hours."""
    link = _link()
    return [
        Notification(
            name="sku-velocity: a run needs a person",
            description="A run of a deployment failed or crashed: Incomplete, PushFailed, NotExported, ...",
            trigger=EventTrigger(
                expect={"prefect.flow-run.*"},
                match={
                    "prefect.resource.id": "prefect.flow-run.*",
                    "prefect.state-type": ["FAILED", "CRASHED"],
                },
                match_related=[OF_OURS, IN_DEPLOYMENT, WHOLE],
                posture=Posture.Reactive,
            ),
            subject=f"{{{{ flow_run.state.name }}}}: {{{{ flow_run.name|{LITERAL} }}}}",
            body=(
                "Deployment {{ deployment.name }}, {{ flow.name }}:\n"
                f"{{{{ (flow_run.state.message or 'no message')|truncate(1500)|{LITERAL} }}}}\n{link}"
            ),
        ),
        Notification(
            name="sku-velocity: a warehouse is late",
            description="The next window of a warehouse is overdue. One message per run that notices it.",
            trigger=EventTrigger(
                expect={WarehouseLate.EVENT},
                match={"prefect.resource.id": "sku-velocity.window.*"},
                match_related=OF_OURS,
                for_each={"related:flow-run:prefect.resource.id"},
                posture=Posture.Reactive,
                within=timedelta(hours=1),
            ),
            subject=f"late: {PLACE}",
            body=(
                "Nothing is published after {{ event.payload.complete_until }}. Late warehouses of "
                "{{ event.payload.source }}: {{ event.payload.late_warehouses }}; "
                "`sku-velocity status` lists them, with what to run next.\n"
                f"Noticed by {{{{ flow_run.name|{LITERAL} }}}}\n{link}"
            ),
        ),
        Notification(
            name="sku-velocity: a source is silent",
            description=f"Nothing of a source was published for {silent_hours:g} hours, by any run.",
            trigger=EventTrigger(
                after={WindowPublished.EVENT},
                expect={WindowPublished.EVENT},
                match={"prefect.resource.id": "sku-velocity.window.*"},
                match_related=OF_OURS,
                for_each={"sku-velocity.source"},
                posture=Posture.Proactive,
                within=timedelta(hours=silent_hours),
            ),
            subject="silent: {{ event.payload.source }}",
            body=(
                f"Nothing was published from {{{{ event.payload.source }}}} for {silent_hours:g} hours. "
                "Check that its schedules are active and that a worker runs.\n"
                f"The last window was of {PLACE}, until {{{{ event.payload.end }}}}\n{link}"
            ),
        ),
    ]


def _link() -> str:
    """Return a template of the link to a run: by the server's PREFECT_UI_URL, otherwise as seen from here."""
    url = url_for("flow-run", obj_id="ID")
    return f"{{{{ (flow_run|ui_url) or '{(url or 'flow run ID').removesuffix('ID')}' ~ flow_run.id }}}}"


async def save_notifications(block: str, silent_hours: float) -> list[tuple[str, str]]:
    """Create our automations for a block, or update them. Return each name with what was done.

    An automation that a user has disabled stays disabled. Raises ConfigurationError if there is no such
    block, if it cannot notify, or if another automation has one of the names.
    """
    async with get_client() as client:
        document = await _find_block(client, block)
        wanted = [each.to(block, document) for each in notifications(silent_hours)]
        stored = {each.name: await _stored(client, each.name) for each in wanted}
        return [(each.name, await _save(client, each, stored[each.name])) for each in wanted]


async def _find_block(client: PrefectClient, block: str) -> BlockDocument:
    slug, _, name = block.partition("/")
    if not slug or not name:
        raise ConfigurationError(
            f"the block {block!r} is not of the form TYPE/NAME, as in slack-webhook/on-call"
        )
    try:
        document = await client.read_block_document_by_name(name, slug)
    except ObjectNotFound as error:
        raise ConfigurationError(f"no block {block}: create it in the Prefect UI (Blocks)") from error
    capabilities = document.block_schema.capabilities if document.block_schema else []
    if slug != WEBHOOK and "notify" not in capabilities:
        raise ConfigurationError(
            f"the block {block} cannot notify: give one of a type that can, such as slack-webhook, "
            "sendgrid-email, custom-webhook or webhook"
        )
    return document


async def _stored(client: PrefectClient, name: str) -> Mapping[str, Any] | None:
    """Return the automation of this name. Raises ConfigurationError if it is not ours."""
    criteria = {"automations": {"name": {"any_": [name]}}}
    found: list[dict[str, Any]] = (await client.request("POST", "/automations/filter", json=criteria)).json()
    for each in found:
        if TAG not in each["tags"]:
            raise ConfigurationError(
                f"another automation has the name {name!r}, without the tag {TAG}: rename or delete it in "
                "the Prefect UI (Automations); nothing was changed"
            )
    return found[0] if found else None


async def _save(client: PrefectClient, wanted: AutomationCore, stored: Mapping[str, Any] | None) -> str:
    if stored is None:
        await client.create_automation(wanted)
        return "created"
    wanted = wanted.model_copy(update={"enabled": stored["enabled"]})
    if _comparable(AutomationCore.model_validate(stored)) == _comparable(wanted):
        return "unchanged"
    values = wanted.model_dump(mode="json", exclude={"owner_resource"})
    await client.request("PUT", "/automations/{id}", path_params={"id": UUID(stored["id"])}, json=values)
    return "updated"


def _comparable(automation: AutomationCore) -> Any:
    """Return what is compared of an automation, with its sets in one order."""
    values = automation.model_dump(mode="json", exclude={"owner_resource"})
    trigger = values["trigger"]
    for name in ("after", "expect", "for_each"):
        trigger[name] = sorted(trigger[name])
    return values


def _slug_of(document: BlockDocument) -> str:
    return document.block_type.slug if document.block_type else ""
