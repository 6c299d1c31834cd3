"""Fill a Tryton database with moves through its own models; print the id of the location that is read.

Run by the environment of one Tryton version, with the configuration file as its argument. It also creates
moves
that are not movements of the warehouse: receipts, moves between shelves, losses and drafts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from proteus import Model, config
from trytond.modules.company.tests.tools import create_company, get_company
from trytond.transaction import Transaction

from tests.real.movements import WAREHOUSE, Movement, movements

BATCH = 500
DOZEN = 12

settings = config.set_trytond("sqlite:///tryton", config_file=sys.argv[1])
create_company()
COMPANY = get_company()
User = Model.get("res.user")
admin = User(settings.user)
admin.companies.append(COMPANY)
admin.company = COMPANY
admin.save()
settings._context = User.get_preferences(True, {})

Location, Uom, Template = (Model.get(name) for name in ("stock.location", "product.uom", "product.template"))
UNIT = Uom.find([("name", "=", "Unit")])[0]


def make_dozen() -> Any:
    """Create the unit of measure of twelve pieces."""
    dozen = Uom(name="Twelve pieces", symbol="twelve", category=UNIT.category, digits=0)
    dozen.factor = float(DOZEN)
    dozen.rounding = 1.0
    dozen.save()
    return dozen


def make_shelves(code: str, parent: Any) -> list[Any]:
    """Create two shelves and a bin on the second one."""
    shelves = [Location(name=f"{code} {number}", type="storage", parent=parent) for number in (1, 2)]
    Location.save(shelves)
    below = Location(name=f"{code} 2 bin", type="storage", parent=shelves[1])
    below.save()
    return [parent, *shelves, below]


def make_products() -> dict[str, int]:
    """Create a product per SKU; return their ids."""
    ids = {}
    for sku in sorted({movement.sku for movement in movements()}):
        template = Template(name=f"part {sku}", default_uom=UNIT, type="goods", list_price=Decimal(1))
        template.products[0].suffix_code = sku
        template.save()
        ids[sku] = template.products[0].id
    return ids


def location(**terms: str) -> Any:
    return Location.find([(name, "=", value) for name, value in terms.items()])[0]


STORAGE = location(code="STO")
OTHER_STORAGE = Location(name="Other storage", type="storage")
OTHER_STORAGE.save()
SHELVES = {True: make_shelves("A", STORAGE), False: make_shelves("B", OTHER_STORAGE)}
CUSTOMER, SUPPLIER, LOST = (location(type=kind) for kind in ("customer", "supplier", "lost_found"))
DOZENS, PRODUCTS = make_dozen(), make_products()


def move(movement: Movement, source: Any, target: Any) -> dict[str, Any]:
    """Return the values of a move; whole dozens are entered as dozens."""
    is_dozens = movement.units % DOZEN == 0
    is_priced = source.type == "supplier" or target.type == "customer"
    price = {"currency": COMPANY.currency.id, "unit_price": Decimal(1)} if is_priced else {}
    return price | {
        "product": PRODUCTS[movement.sku],
        "unit": (DOZENS if is_dozens else UNIT).id,
        "quantity": float(movement.units / DOZEN if is_dozens else movement.units),
        "from_location": source.id,
        "to_location": target.id,
        "effective_date": movement.at.date(),
        "planned_date": movement.at.date(),
        "company": COMPANY.id,
    }


def moves() -> Iterator[dict[str, Any]]:
    """Yield the movements, each from one of its warehouse's shelves; some go to the other warehouse."""
    for number, movement in enumerate(movements()):
        shelves = SHELVES[movement.warehouse == WAREHOUSE]
        target = OTHER_STORAGE if movement.warehouse == WAREHOUSE and number % 50 == 0 else CUSTOMER
        yield move(movement, shelves[number % len(shelves)], target)


def others() -> Iterator[dict[str, Any]]:
    """Yield moves that are no movements of the warehouse."""
    storage, first, second, below = SHELVES[True]
    ways = [(SUPPLIER, first), (first, second), (second, below), (below, storage), (second, LOST)]
    for number, movement in enumerate(islice(movements(), 300)):
        yield move(movement, *ways[number % len(ways)])


def create(values: Iterator[dict[str, Any]], is_done: bool = True) -> None:
    """Create moves in batches, and do them without assigning stock first."""
    stock_move = settings.pool.get("stock.move")
    while batch := list(islice(values, BATCH)):
        with Transaction().start("tryton", settings.user, context=settings.context) as transaction:
            created = stock_move.create(batch)
            if is_done:
                stock_move.do(created)
            transaction.commit()


create(others())
create(moves())
create(islice(moves(), 100), is_done=False)
print(STORAGE.id)
