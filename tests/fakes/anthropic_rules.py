"""The rules of the Anthropic Messages API beside its types.

Sources are marked as in ``tests.fakes.anthropic``.
"""

import re

from tests.fakes import schema as schemas
from tests.fakes.service import image_size

_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")  # [docs] tool use
_TOOL_ID = re.compile(r"^[a-zA-Z0-9_-]+$")  # [recalled]
_SPACE_ONLY = re.compile(r"^\s*$")
_NO_MEMBER = "Input tag '{}' found using '{}' does not match any of the expected tags: {}"


def _version(model):
    """Return ``(family, major, minor)`` of a Claude model; unknown parts are 0."""
    match = re.match(r"claude-(opus|sonnet|haiku|fable)-(\d)(?:-(\d)(?!\d))?", model)
    return (match[1], int(match[2]), int(match[3] or 0)) if match else ("", 3, 0)


def at_least(model, major, minor):
    return _version(model)[1:] >= (major, minor)


def word(problem):
    """Word a problem as pydantic does, which is how the service words it [recalled]."""
    at = ".".join(str(p) for p in problem.tagged)
    if problem.kind == "extra":
        return f"{at}: Extra inputs are not permitted"
    if problem.kind == "missing":
        return f"{at}: Field required"
    allowed = [f"'{e}'" if isinstance(e, str) else str(e) for e in problem.expected]
    if problem.kind == "tag":
        at = at.rpartition(".")[0]
        return f"{at}: " + _NO_MEMBER.format(problem.got, problem.key, ", ".join(allowed))
    if problem.kind == "value":
        listed = ", ".join(allowed[:-1]) + " or " + allowed[-1] if len(allowed) > 1 else allowed[0]
        return f"{at}: Input should be {listed}"
    words = {"object": "dictionary", "array": "list", "boolean": "boolean"}
    name = problem.expected[-1] if problem.expected else "string"
    return f"{at}: Input should be a valid {words.get(name, name)}"


class Rules:
    """The rules beside the types, over one body."""

    def __init__(self, service, body):
        self.service = service
        self.body = body
        self.model = body["model"]
        self.thinking = (body.get("thinking") or {}).get("type", "disabled")
        self.messages = [
            (i, m["role"], blocks_of(m["content"])) for i, m in enumerate(body["messages"])
        ]

    def fail(self, message):
        raise self.service.invalid(message)

    def run(self):
        self.check_limits()
        self.check_thinking_settings()
        self.check_sampling()
        self.check_tools()
        self.check_cache_marks()
        self.check_roles()
        self.check_content()
        self.check_pairs()
        self.check_thoughts()
        self.check_output()

    def check_limits(self):
        if self.body.get("max_tokens", 1) < 0:
            self.fail("max_tokens: Input should be greater than or equal to 0")
        for name, high in (("temperature", 1), ("top_p", 1)):
            value = self.body.get(name)
            if value is not None and value < 0:
                self.fail(f"{name}: Input should be greater than or equal to 0")
            if value is not None and value > high:
                self.fail(f"{name}: range: 0..1")  # [recalled] "temperature: range: 0..1"
        for stop in self.body.get("stop_sequences", []):
            if _SPACE_ONLY.match(stop):  # [recalled]
                self.fail("stop_sequences: each stop sequence must contain non-whitespace")

    def check_thinking_settings(self):
        thinking = self.body.get("thinking") or {}
        if self.thinking == "adaptive" and not at_least(self.model, 4, 6):
            self.fail("adaptive thinking is not supported on this model")  # [docs] from 4.6 on
        if self.thinking != "enabled":
            return
        if at_least(self.model, 4, 7):  # [docs] what's new in Opus 4.7
            self.fail(
                '"thinking.type.enabled" is not supported for this model. Use '
                '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
            )
        if thinking["budget_tokens"] < 1024:
            self.fail(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if thinking["budget_tokens"] >= self.body.get("max_tokens", 1 << 30):  # [recalled]
            self.fail(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our "
                "documentation at https://docs.claude.com/en/docs/build-with-claude/"
                "extended-thinking#max-tokens-and-context-window-size"
            )

    def check_sampling(self):
        body = self.body
        if self.thinking in ("enabled", "adaptive"):  # [docs] extended thinking: compatibility
            see = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking"
            if body.get("temperature", 1) != 1:
                self.fail(f"`temperature` may only be set to 1 when thinking is enabled. {see}")
            if "top_k" in body:
                self.fail(f"`top_k` must be unset when thinking is enabled. {see}")
            if body.get("top_p", 1) < 0.95:
                self.fail(
                    "`top_p` must be greater than or equal to 0.95 or unset when thinking is "
                    f"enabled. {see}"
                )
            # a forced tool with thinking, [recalled]
            if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
                self.fail("Thinking may not be enabled when tool_choice forces tool use.")
        if at_least(self.model, 4, 7):  # [docs] sampling parameters from Opus 4.7 on
            for name in ("temperature", "top_p", "top_k"):
                if name in body and not (name != "top_k" and body[name] == 1):
                    self.fail(f"`{name}` is deprecated for this model.")
        if at_least(self.model, 4, 1) and "temperature" in body and "top_p" in body:  # [docs]
            self.fail(
                "`temperature` and `top_p` cannot both be specified for this model. "
                "Please use only one."
            )

    def check_tools(self):
        tools, names = self.body.get("tools") or [], set()
        for i, tool in enumerate(tools):
            if "name" not in tool:
                continue
            at = f"tools.{i}." + (tool.get("type") or "custom")
            if not _TOOL_NAME.match(tool["name"]):
                self.fail(f"{at}.name: String should match pattern '{_TOOL_NAME.pattern}'")
            if tool["name"] in names:
                self.fail("tools: Tool names must be unique.")  # [recalled]
            names.add(tool["name"])
            if found := schemas.invalid(tool.get("input_schema", {})):
                self.fail(  # [recalled]
                    f"{at}.input_schema: JSON schema is invalid. It must match JSON Schema draft "
                    "2020-12 (https://json-schema.org/draft/2020-12). Learn more about tool use "
                    f"at https://docs.claude.com/en/docs/tool-use. ({found[1]})"
                )
            if any(k in tool.get("input_schema", {}) for k in ("oneOf", "allOf", "anyOf")):
                self.fail(  # [recalled]
                    f"{at}.input_schema: input_schema does not support oneOf, allOf, or anyOf at "
                    "the top level"
                )
        choice = self.body.get("tool_choice")
        if choice and not tools:  # [recalled]
            self.fail("tool_choice: tool_choice may only be specified while providing tools")
        if choice and choice["type"] == "tool" and choice["name"] not in names:
            self.fail(f"Tool '{choice['name']}' not found in provided tools")  # [recalled]

    def check_cache_marks(self):
        marks = _count_marks([self.body.get(k) for k in ("tools", "system", "messages")])
        marks += bool(self.body.get("cache_control"))
        if marks > 4:  # [docs] prompt caching
            self.fail(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")

    def check_roles(self):
        roles = [role for _, role, _ in self.messages]
        if "system" in roles and not at_least(self.model, 4, 8):  # [recalled]
            self.fail("role 'system' is not supported on this model")
        if roles[0] != "user":  # [docs] messages: the first message must use the user role
            self.fail('messages: first message must use the "user" role')
        if roles[-1] == "assistant" and at_least(self.model, 4, 6):  # [docs] prefill
            self.fail(
                "This model does not support assistant message prefill. The conversation must end "
                "with a user message."
            )

    def check_content(self):
        last = len(self.messages) - 1
        system = self.body.get("system")
        for i, block in enumerate(system if isinstance(system, list) else []):
            self.check_text(f"system.{i}", "system", block)
        for i, role, blocks in self.messages:
            if not blocks and not (i == last and role == "assistant"):  # [recalled]
                self.fail(
                    f"messages.{i}: all messages must have non-empty content except for the "
                    "optional final assistant message"
                )
            for j, block in enumerate(blocks):
                self.check_block(i, j, role, block)
        _, role, blocks = self.messages[-1]
        if role == "assistant" and blocks and blocks[-1]["type"] == "text":
            text = blocks[-1]["text"]
            if text != text.rstrip():  # [recalled]
                self.fail("messages: final assistant content cannot end with trailing whitespace")

    def check_text(self, at, place, block):
        if block["type"] == "text" and not block["text"]:  # [recalled]
            if block.get("cache_control"):
                self.fail(f"{at}: cache_control cannot be set for empty text blocks")
            self.fail(f"{place}: text content blocks must be non-empty")
        if block["type"] == "text" and _SPACE_ONLY.match(block["text"]):  # [recalled]
            self.fail(f"{place}: text content blocks must contain non-whitespace text")

    def check_block(self, i, j, role, block):
        at = f"messages.{i}.content.{j}"
        kind = block["type"]
        self.check_text(at, "messages", block)
        allowed = {"tool_use": "assistant", "thinking": "assistant", "tool_result": "user"}
        allowed |= {"redacted_thinking": "assistant", "image": "user", "document": "user"}
        if allowed.get(kind, role) != role:  # [recalled]
            self.fail(f"messages.{i}: `{kind}` blocks can only be in `{allowed[kind]}` messages")
        if kind in ("tool_use", "tool_result"):
            key = "id" if kind == "tool_use" else "tool_use_id"
            if not _TOOL_ID.match(block[key]):
                self.fail(f"{at}.{kind}.{key}: String should match pattern '{_TOOL_ID.pattern}'")
        if kind == "tool_use" and not _TOOL_NAME.match(block["name"]):  # [recalled] up to 200 there
            self.fail(f"{at}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,200}}$'")
        if kind == "image":
            self.check_image(f"{at}.image", block["source"])
        for k, inner in enumerate(blocks_of(block.get("content") or [])):
            if kind == "tool_result" and inner["type"] == "image":
                self.check_image(f"{at}.tool_result.content.{k}.image", inner["source"])
            elif kind == "tool_result":
                self.check_text(f"{at}.content.{k}", "messages", inner)

    def check_image(self, at, source):
        if source["type"] == "base64" and not image_size(source["data"]):  # [recalled]
            self.fail(f"{at}.source.base64.data: Invalid base64 data")

    def check_pairs(self):
        """Check tool calls against results, over turns (equal neighbours are one turn) [docs]."""
        turns = []
        for i, role, blocks in self.messages:
            if turns and turns[-1][1] == role:
                turns[-1][2].extend(blocks)
            else:
                turns.append((i, role, list(blocks)))
        seen, open_ids, asked_at = set(), [], 0
        for i, role, blocks in turns:
            self.check_results(i, blocks, open_ids, asked_at)
            open_ids, asked_at = [], i
            for block in blocks if role == "assistant" else []:
                if block["type"] == "tool_use":
                    if block["id"] in seen:  # [recalled]
                        self.fail(f"messages.{i}: `tool_use` ids must be unique")
                    seen.add(block["id"])
                    open_ids.append(block["id"])
        if open_ids and turns[-1][1] == "assistant":
            self.fail(_unanswered(turns[-1][0], open_ids))

    def check_results(self, i, blocks, open_ids, asked_at):
        ids = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if open_ids:  # results come first in the content, else they do not count [docs]
            leading = []
            for block in blocks:
                if block["type"] != "tool_result":
                    break
                leading.append(block["tool_use_id"])
            missing = [t for t in open_ids if t not in leading]
            if missing:
                self.fail(_unanswered(asked_at, missing))
        for j, block in enumerate(blocks):
            if block["type"] != "tool_result":
                continue
            tid = block["tool_use_id"]
            if tid not in open_ids:  # [seen] https://github.com/anthropics/claude-code/issues/18947
                self.fail(
                    f"messages.{i}.content.{j}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {tid}. Each `tool_result` block must have a corresponding `tool_use` "
                    "block in the previous message."
                )
            if ids.count(tid) > 1:  # [recalled]
                self.fail(
                    f"messages.{i}.content.{j}: each tool_use must have a single result. Found "
                    f"multiple `tool_result` blocks with id: {tid}"
                )

    def check_thoughts(self):
        for i, role, blocks in self.messages:
            for j, block in enumerate(blocks):
                if block["type"] == "thinking" and not self.service.sealed(
                    block["signature"], block["thinking"], "Ev"
                ):
                    self.fail(f"messages.{i}.content.{j}: Invalid `signature` in `thinking` block")
                if block["type"] == "redacted_thinking":
                    self.fail(
                        f"messages.{i}.content.{j}: Invalid `data` in `redacted_thinking` block"
                    )
            kinds = [b["type"] for b in blocks]
            # [seen] https://github.com/tailcallhq/forgecode/issues/2107
            if role == "assistant" and kinds and kinds[-1] in ("thinking", "redacted_thinking"):
                self.fail(
                    f"messages.{i}: The final block in an assistant message cannot be `thinking`."
                )
        if self.thinking == "enabled":
            self.check_tool_turn()
        i, role, blocks = self.messages[-1]
        kinds = [b["type"] for b in blocks]
        if role == "assistant" and self.thinking == "disabled" and "thinking" in kinds:
            self.fail(  # [seen] https://github.com/tailcallhq/forgecode/issues/1853
                f"messages.{i}.content.{kinds.index('thinking')}: When thinking is disabled, an "
                "`assistant` message in the final position cannot contain `thinking`. To use "
                "thinking blocks, enable `thinking` in your request."
            )

    def check_tool_turn(self):
        """With a budget, the assistant turn of an open tool loop begins with a thought.

        [seen] https://github.com/anthropics/claude-code/issues/11978
        """
        assistants = [(i, b) for i, role, b in self.messages if role == "assistant"]
        last = self.messages[-1][2]
        is_open = any(b["type"] == "tool_result" for b in last)
        if not assistants or not (is_open or self.messages[-1][1] == "assistant"):
            return
        i, blocks = assistants[-1]
        found = blocks[0]["type"] if blocks else "nothing"
        if found not in ("thinking", "redacted_thinking"):
            self.fail(
                f"messages.{i}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
                f"found `{found}`. When `thinking` is enabled, a final `assistant` message must "
                "start with a thinking block (preceeding the lastmost set of `tool_use` and "
                "`tool_result` blocks). We recommend you include thinking blocks from previous "
                "turns. To avoid this requirement, disable `thinking`. Please consult our "
                "documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
            )

    def check_output(self):
        form = output_format(self.body)
        if form is None:
            return
        if found := schemas.invalid(form["schema"]):
            self.fail(f"output_config.format.schema: Invalid schema: {found[1]}")  # [guess]
        if not _closed(form["schema"]):  # [docs] structured outputs: limitations
            self.fail(
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be "
                "explicitly set to false"
            )


def _unanswered(i, ids):
    return (  # [seen] https://github.com/anthropics/claude-code/issues/7929
        f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in "
        "the next message."
    )


def _closed(schema):
    if isinstance(schema, list):
        return all(_closed(s) for s in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    return all(_closed(v) for k, v in schema.items() if k not in ("const", "enum", "default"))


def _count_marks(value):
    if isinstance(value, list):
        return sum(_count_marks(v) for v in value)
    if not isinstance(value, dict):
        return 0
    own = bool(value.get("cache_control"))
    return own + sum(_count_marks(v) for k, v in value.items() if k in ("content", "source"))


def blocks_of(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def output_format(body):
    return (body.get("output_config") or {}).get("format") or body.get("output_format")
