"""The commands, one module per command. They import no Prefect."""
