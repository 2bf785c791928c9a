"""The list of services. Everything else asks a cloud for its services and knows none of them by name.

To add a service, see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from alilocal.core.world import World
from alilocal.eventbridge.routes import EventBridge
from alilocal.eventbridge.switches import EventBridgeSwitches
from alilocal.fc.functionhost import FunctionHost
from alilocal.fc.routes import FunctionCompute
from alilocal.fc.switches import FunctionComputeSwitches
from alilocal.mnsopen.routes import MnsOpen
from alilocal.paiautoml.routes import PaiAutoMl
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.resourcemanager import ResourceManager
from alilocal.smq.routes import Smq
from alilocal.smq.switches import SmqSwitches
from alilocal.sts import Sts
from alilocal.tablestore.routes import Tablestore
from alilocal.tablestore.switches import TablestoreSwitches


@dataclass
class Behaviour(
    PaiAutoMlSwitches,
    SmqSwitches,
    EventBridgeSwitches,
    TablestoreSwitches,
    FunctionComputeSwitches,
):
    """The switches of all services in one object: `cloud.behaviour`. Every member may be set at any time."""


class Services(NamedTuple):
    """The services of one cloud, in the order in which the README and the console show them."""

    paiautoml: PaiAutoMl
    smq: Smq
    mnsopen: MnsOpen
    eventbridge: EventBridge
    tablestore: Tablestore
    fc: FunctionCompute
    resourcemanager: ResourceManager
    sts: Sts


def make_services(world: World[Behaviour], host: Callable[[], FunctionHost]) -> Services:
    """Make the services of a cloud. A service that uses another one gets it here, as EventBridge gets the queues.

    `host` returns what runs functions; it is loaded at its first use.
    """
    smq = Smq(world)
    return Services(
        paiautoml=PaiAutoMl(world),
        smq=smq,
        mnsopen=MnsOpen(world, smq.queues, smq.topics),
        eventbridge=EventBridge(world, smq.queues),
        tablestore=Tablestore(world),
        fc=FunctionCompute(world, host),
        resourcemanager=ResourceManager(world),
        sts=Sts(world),
    )
