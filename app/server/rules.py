"""The rules in force: read with the settings, handed to the gateway, shown and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.accounts.account import Account
from app.canonical.parts import JsonObject
from app.config import Config
from app.configfile import Located, read
from app.errors import AppError, ConfigError, ConfigProblem
from app.gateway.exchange import Gateway
from app.gateway.route import ranking, tokens_of
from app.providers.base import Provider
from app.routing.catalog import Catalog
from app.routing.plan import Plan, no_account_error
from app.routing.rules import RuleSet
from app.rulesets.loading import Routing, load_routing
from app.server.explain import ExplainDesk, explain_call

__all__ = ["RuleDesk"]


@dataclass(slots=True)
class RuleDesk:
    """State: the rules, hooks and doubts that were read last.

    Args:
        located: the settings file.
        providers: services by id; changed in place by others.
    """

    located: Located
    providers: Mapping[str, Provider]
    _routing: Routing = field(default_factory=Routing)

    def load(
        self,
        config: Config,
        accounts: Sequence[Account],
        problems: Sequence[ConfigProblem] = (),
        *,
        text: str | None = None,
        catalog: Catalog | None = None,
    ) -> Routing:
        """Read the rules of settings and run the files of extensions; blocks for as long.

        Args:
            config: the settings.
            accounts: those that are known.
            problems: what else is wrong with the settings.
            text: of the settings; None: as the file has it.
            catalog: what is known of models, where ``accounts`` are all there are; None: they are
                those of the settings, and others may be in the vault.

        Raises:
            ConfigError: with all that is wrong.
        """
        routing = load_routing(
            config,
            accounts,
            Catalog() if catalog is None else catalog,
            self.providers,
            text=read(self.located) if text is None else text,
            file=str(self.located.path),
            complete=catalog is not None,
        )
        if problems or routing.problems:
            raise ConfigError([*problems, *routing.problems])
        return routing

    def enforce(self, routing: Routing, config: Config, gateway: Gateway) -> None:
        """Let calls go by these rules from now on."""
        self._routing = routing
        gateway.rules = routing.rules
        gateway.extensions = routing.extensions
        gateway.hooks = tuple(config.models.hooks)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is probably not as meant, a sentence each."""
        return tuple(str(doubt) for doubt in self._routing.doubts)

    def health(self) -> dict[str, Any]:
        """Return how many rules there are, and the state of each extension."""
        return {
            "count": len(self._routing.rules.rules),
            "extensions": self._routing.extensions.health(),
        }

    async def explain(
        self, gateway: Gateway, body: JsonObject, rules: RuleSet | None = None
    ) -> dict[str, Any]:
        """Answer ``POST /admin/route/explain``.

        Args:
            gateway: whose accounts and models are asked.
            body: the question.
            rules: those to go by; None: those in force.

        Raises:
            RequestError: the question is wrong.
        """
        now = gateway.now()

        def no_account(plan: Plan) -> AppError:
            return no_account_error(plan, now, True, gateway.clock)

        desk = ExplainDesk(
            rules=lambda: gateway.rules if rules is None else rules,
            accounts=gateway.roster.accounts,
            catalog=lambda: gateway.catalog,
            state_of=lambda account, model: gateway.state(account, model, now),
            ranking=lambda decision, talk: ranking(gateway, decision, talk),
            count=lambda request: tokens_of(gateway, request),
            no_account=no_account,
            dialects=gateway.dialects,
        )
        return await explain_call(desk, body)
