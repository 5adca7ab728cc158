"""What a command needs of the package, loaded before it is forked."""

import importlib
import pkgutil

import tasuki.cli.commands
import tasuki.kinds.check.project

for module in pkgutil.iter_modules(tasuki.cli.commands.__path__):
    importlib.import_module(f"tasuki.cli.commands.{module.name}")
