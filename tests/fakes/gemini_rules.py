"""The Gemini API's messages and the rules beside their types.

Sources are marked as in ``tests.fakes.gemini``.
"""

import base64
import re

from tests.fakes import schema as schemas
from tests.fakes.service import image_size

SKIPPED = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
"""Placeholders that stand for a missing signature, https://ai.google.dev/gemini-api/docs/thought-signatures."""
_TYPE = ("Type", ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))
_HARM = ("HarmCategory", tuple("HARM_CATEGORY_" + c for c in (
    "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY",
)))  # fmt: skip
_BLOCK = (
    "SafetySetting.HarmBlockThreshold",
    ("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"),
)
_RESOLUTION = ("MediaResolution", tuple(f"MEDIA_RESOLUTION_{r}" for r in ("LOW", "MEDIUM", "HIGH")))
MESSAGES = {
    "GenerateContentRequest": {
        "model": "string",
        "contents": ["Content"],
        "systemInstruction": "Content",
        "tools": ["Tool"],
        "toolConfig": "ToolConfig",
        "safetySettings": ["SafetySetting"],
        "generationConfig": "GenerationConfig",
        "cachedContent": "string",
        "serviceTier": "any",
        "store": "bool",
    },
    "CountTokensRequest": {
        "model": "string",
        "contents": ["Content"],
        "generateContentRequest": "GenerateContentRequest",
    },
    "Content": {"role": "string", "parts": ["Part"]},
    "Part": {
        "text": "string",
        "thought": "bool",
        "thoughtSignature": "bytes",
        "inlineData": "Blob",
        "fileData": "FileData",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
        "executableCode": "object",
        "codeExecutionResult": "object",
        "videoMetadata": "object",
        "mediaResolution": "object",
        "partMetadata": "object",
        "toolCall": "object",
        "toolResponse": "object",
    },
    "Blob": {"mimeType": "string", "data": "bytes"},
    "FileData": {"mimeType": "string", "fileUri": "string"},
    "FunctionCall": {"id": "string", "name": "string", "args": "object"},
    "FunctionResponse": {
        "id": "string",
        "name": "string",
        "response": "object",
        "parts": ["FunctionResponsePart"],
        "willContinue": "bool",
        "scheduling": ("FunctionResponse.Scheduling", ("SILENT", "WHEN_IDLE", "INTERRUPT")),
    },
    "FunctionResponsePart": {"inlineData": "Blob", "fileData": "FileData"},
    "Tool": {
        "functionDeclarations": ["FunctionDeclaration"],
        "googleSearch": "object",
        "googleSearchRetrieval": "object",
        "codeExecution": "object",
        "urlContext": "object",
        "googleMaps": "object",
        "computerUse": "object",
        "fileSearch": "object",
        "mcpServers": ["object"],
    },
    "FunctionDeclaration": {
        "name": "string",
        "description": "string",
        "parameters": "Schema",
        "parametersJsonSchema": "any",
        "response": "Schema",
        "responseJsonSchema": "any",
        "behavior": ("FunctionDeclaration.Behavior", ("BLOCKING", "NON_BLOCKING")),
    },
    "Schema": {
        "type": _TYPE,
        "format": "string",
        "title": "string",
        "description": "string",
        "nullable": "bool",
        "enum": ["string"],
        "items": "Schema",
        "maxItems": "int",
        "minItems": "int",
        "properties": {"Schema"},
        "required": ["string"],
        "minProperties": "int",
        "maxProperties": "int",
        "minLength": "int",
        "maxLength": "int",
        "pattern": "string",
        "example": "any",
        "anyOf": ["Schema"],
        "propertyOrdering": ["string"],
        "default": "any",
        "minimum": "float",
        "maximum": "float",
    },
    "ToolConfig": {
        "functionCallingConfig": "FunctionCallingConfig",
        "retrievalConfig": "object",
        "includeServerSideToolInvocations": "bool",
    },
    "FunctionCallingConfig": {
        "mode": ("FunctionCallingConfig.Mode", ("AUTO", "ANY", "NONE", "VALIDATED")),
        "allowedFunctionNames": ["string"],
    },
    "SafetySetting": {"category": _HARM, "threshold": _BLOCK},
    "GenerationConfig": {
        "candidateCount": "int",
        "stopSequences": ["string"],
        "maxOutputTokens": "int",
        "temperature": "float",
        "topP": "float",
        "topK": "float",
        "seed": "int",
        "responseMimeType": "string",
        "responseSchema": "Schema",
        "responseJsonSchema": "any",
        "_responseJsonSchema": "any",
        "presencePenalty": "float",
        "frequencyPenalty": "float",
        "responseLogprobs": "bool",
        "logprobs": "int",
        "enableEnhancedCivicAnswers": "bool",
        "responseModalities": [("GenerationConfig.Modality", ("TEXT", "IMAGE", "AUDIO"))],
        "speechConfig": "object",
        "thinkingConfig": "ThinkingConfig",
        "imageConfig": "object",
        "mediaResolution": _RESOLUTION,
    },
    "ThinkingConfig": {
        "includeThoughts": "bool",
        "thinkingBudget": "int",
        "thinkingLevel": (
            "ThinkingConfig.ThinkingLevel",
            ("MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high"),
        ),
    },
}  # fmt: skip
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_DATA += ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$")  # [recalled]


class Rules:
    """The rules beside the fields' types, over one body."""

    def __init__(self, service, body, model):
        self.service = service
        self.body = body
        self.model = model
        self.config = body.get("generationConfig", {})
        self.contents = body.get("contents", [])

    def fail(self, message):
        self.service.fail(message)

    def named(self, field, why):
        """Fail as the back end does for a field [recalled]."""
        self.fail(f"* GenerateContentRequest.{field}: {why}\n")

    def run(self):
        if not self.contents:
            self.named("contents", "contents is not specified")
        self.check_contents()
        self.check_turns()
        self.check_signatures()
        self.check_config()
        self.check_thinking()
        self.check_tools()

    def check_contents(self):
        for i, content in enumerate(self.contents):
            if content.get("role", "user") not in ("user", "model", "function"):  # [recalled]
                self.fail("Please use a valid role: user, model.")
            if not content.get("parts"):
                self.named(f"contents[{i}].parts", "contents.parts must not be empty.")
            for j, part in enumerate(content["parts"]):
                self.check_part(f"contents[{i}].parts[{j}]", part)
        system = self.body.get("systemInstruction")
        for j, part in enumerate((system or {}).get("parts", [])):
            self.check_part(f"system_instruction.parts[{j}]", part)

    def check_part(self, at, part):
        data = [name for name in _DATA if name in part]
        if not data:  # a oneof without a value [recalled]
            self.named(f"{at}.data", "required oneof field 'data' must have one initialized field")
        if len(data) > 1:
            self.fail(
                f"Invalid value at '{at}' (oneof), oneof field 'data' is already set. Cannot set "
                f"'{data[1]}'"
            )
        call = part.get("functionCall") or part.get("functionResponse")
        if call is not None and not call.get("name"):
            kind = "function_call" if "functionCall" in part else "function_response"
            self.named(f"{at}.{kind}.name", "Name cannot be empty.")
        blob = part.get("inlineData")
        if blob is not None and not blob.get("mimeType"):
            self.named(f"{at}.inline_data.mime_type", "must be specified.")  # [guess]
        if blob is not None and not image_size(blob.get("data", "")):
            self.fail("Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting")  # fmt: skip

    def check_turns(self):
        """Check the order of calls and results [recalled], and their number.

        [seen] https://github.com/google-gemini/gemini-cli/issues/16984
        """
        previous, role_before = [], None
        for i, content in enumerate(self.contents):
            role = content.get("role", "user")
            calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]
            results = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
            if calls and (role != "model" or role_before in (None, "model")):
                self.fail(
                    "Please ensure that function call turn comes immediately after a user turn or "
                    "after a function response turn."
                )
            if results and not previous:
                self.fail(
                    "Please ensure that function response turn comes immediately after a function "
                    "call turn."
                )
            if (results or previous) and len(results) != len(previous):
                self.fail(
                    "Please ensure that the number of function response parts is equal to the "
                    "number of function call parts of the function call turn."
                )
            self.check_names(i, previous, results)
            previous, role_before = calls, role
        if previous:
            self.fail(
                "Please ensure that single turn requests end with a user role or the role field is "
                "empty."
            )

    def check_names(self, i, calls, results):
        wanted = sorted(c["name"] for c in calls)
        if results and sorted(r["name"] for r in results) != wanted:  # [guess]
            self.named(f"contents[{i}]", "function response names do not match the function calls")
        ids = {c["id"] for c in calls if c.get("id")}
        given = {r["id"] for r in results if r.get("id")}
        if ids and given - ids:  # [guess]
            self.named(f"contents[{i}]", "function response ids do not match the function calls")

    def check_signatures(self):
        last_user = 0
        for i, content in enumerate(self.contents):
            is_user = content.get("role", "user") == "user"
            if is_user and any("functionResponse" not in p for p in content["parts"]):
                last_user = i
            for part in content["parts"]:
                signature = part.get("thoughtSignature")
                if signature and not self.is_genuine(signature):
                    self.fail("Corrupted thought signature.")  # [recalled]
        if not self.model.startswith("gemini-3"):
            return
        for i, content in enumerate(self.contents[last_user:], last_user):
            for part in content["parts"]:
                if "functionCall" not in part:
                    continue
                if not part.get("thoughtSignature"):  # only the first of parallel calls [docs]
                    self.fail(  # [seen] https://github.com/askimo-ai/askimo/issues/543
                        "Function call is missing a thought_signature in functionCall parts. This "
                        "is required for tools to work correctly, and missing thought_signature "
                        "may lead to degraded model performance. Additional data, function call "
                        f"`default_api:{part['functionCall']['name']}` , position {i + 1}. Please "
                        "refer to https://ai.google.dev/gemini-api/docs/thought-signatures for "
                        "more details."
                    )
                break

    def is_genuine(self, signature):
        plain = [base64.b64encode(s.encode()).decode() for s in SKIPPED]
        if signature in (*SKIPPED, *plain, *(p.rstrip("=") for p in plain)):
            return True
        return self.service.sealed(signature.replace("-", "+").replace("_", "/"), "")

    def check_config(self):
        config = self.config
        for name, low, high in (("temperature", 0, 2), ("topP", 0, 1)):
            value = config.get(name)
            if value is not None and not low <= value <= high:  # [recalled]
                shown = {"topP": "top_p"}.get(name, name)
                self.named(
                    f"generation_config.{shown}",
                    f"{shown} must be in the range [{low:.1f}, {high:.1f}].",
                )
        if config.get("maxOutputTokens", 1) < 1:
            self.named("generation_config.max_output_tokens", "max_output_tokens must be positive.")
        if len(config.get("stopSequences", [])) > 5:  # [docs]
            self.named("generation_config.stop_sequences", "At most 5 stop sequences are allowed.")
        if config.get("candidateCount", 1) > 8:
            self.named("generation_config.candidate_count", "must be in the range [1, 8].")
        self.check_output()

    def check_output(self):
        config = self.config
        mime, schema = config.get("responseMimeType"), config.get("responseSchema")
        open_schema = config.get("responseJsonSchema", config.get("_responseJsonSchema"))
        if mime and mime not in ("text/plain", "application/json", "text/x.enum"):  # [recalled]
            self.named(
                "generation_config.response_mime_type",
                "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, "
                "`application/yaml` and `text/x.enum`.",
            )
        if schema is not None and open_schema is not None:  # [docs]
            self.named(
                "generation_config.response_json_schema",
                "only one of response_schema and response_json_schema may be set",
            )
        wanted = schema is not None or open_schema is not None
        if wanted and mime not in ("application/json", "text/x.enum"):  # [docs], text [guess]
            self.fail(
                "For controlled generation of only text with response schema, the response mime "
                "type must be application/json or text/x.enum."
            )
        if schema is not None:
            self.check_schema("generation_config.response_schema", schema)
        if open_schema is not None and (found := schemas.invalid(open_schema)):
            self.named("generation_config.response_json_schema", found[1])
        has_tools = any(t.get("functionDeclarations") for t in self.body.get("tools", []))
        if mime == "application/json" and has_tools and not self.model.startswith("gemini-3"):
            self.fail(  # [recalled]
                "Function calling with a response mime type: 'application/json' is unsupported"
            )

    def check_thinking(self):
        config = self.config.get("thinkingConfig")
        if config is None:
            return
        budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
        if not re.match(r"gemini-(2\.5|[3-9])", self.model):  # [recalled]
            self.fail("Thinking is not enabled for this model.")
        if level is not None and not self.model.startswith("gemini-3"):  # [docs]
            self.fail("Thinking level is not supported for this model.")
        if budget is not None and level is not None:  # [docs]
            self.fail("You can only set only one of thinking budget and thinking level.")
        low, high = (128, 32768) if "pro" in self.model else (0, 24576)  # [docs]
        if budget == 0 and low:
            self.fail("Budget 0 is invalid. This model only works in thinking mode.")  # [recalled]
        if budget is not None and budget != -1 and not low <= budget <= high:  # [recalled]
            self.fail(
                f"The thinking budget {budget} is invalid. Please choose a value between {low} and "
                f"{high}."
            )

    def check_tools(self):
        names = []
        for i, tool in enumerate(self.body.get("tools", [])):
            for j, each in enumerate(tool.get("functionDeclarations", [])):
                at = f"tools[{i}].function_declarations[{j}]"
                if not _NAME.match(each.get("name", "")):
                    self.named(
                        f"{at}.name",
                        "Invalid function name. Must start with a letter or an underscore. Must be "
                        "alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or "
                        "dashes (-), with a maximum length of 64.",
                    )
                if each["name"] in names:  # [recalled]
                    self.fail(f"Duplicate function declaration found: {each['name']}")
                names.append(each["name"])
                self.check_declaration(at, each)
        config = self.body.get("toolConfig", {}).get("functionCallingConfig", {})
        allowed, mode = config.get("allowedFunctionNames"), config.get("mode", "AUTO")
        if allowed and mode not in ("ANY", "VALIDATED"):  # [recalled]
            self.fail(
                "Function calling config is set without function_calling_config.mode ANY: "
                "allowed_function_names should only be set when the mode is ANY."
            )
        for name in allowed or []:
            if name not in names:
                self.fail(f"allowed_function_names contains an undeclared function: {name}")
        if mode == "ANY" and not names:  # [recalled]
            self.fail("Function calling config is set without function_declarations.")

    def check_declaration(self, at, each):
        parameters, open_schema = each.get("parameters"), each.get("parametersJsonSchema")
        if parameters is not None and open_schema is not None:  # [docs] mutually exclusive
            self.named(
                f"{at}.parameters", "parameters and parameters_json_schema are mutually exclusive"
            )
        if parameters is not None:
            if parameters.get("type") != "OBJECT":  # [recalled]
                self.named(f"{at}.parameters", "parameters schema should be of type OBJECT")
            self.check_schema(f"{at}.parameters", parameters)
        if open_schema is not None and (found := schemas.invalid(open_schema)):
            self.named(f"{at}.parameters_json_schema", found[1])

    def check_schema(self, at, schema):
        """Check the OpenAPI subset, texts [recalled]."""
        kind = schema.get("type")
        if kind is None and not schema.get("anyOf"):
            self.named(f"{at}.type", "must be specified")
        if kind == "ARRAY" and "items" not in schema:
            self.named(f"{at}.items", "missing field.")
        if kind == "OBJECT" and "properties" in schema and not schema["properties"]:
            self.named(f"{at}.properties", "should be non-empty for OBJECT type")
        if "enum" in schema and kind not in ("STRING", "INTEGER", "NUMBER"):
            self.named(f"{at}.enum", "only allowed for STRING type")
        if "" in schema.get("enum", []):
            self.named(f"{at}.enum[{schema['enum'].index('')}]", "cannot be empty")
        if kind == "STRING" and schema.get("format", "enum") not in ("enum", "date-time"):
            self.named(f"{at}.format", "only 'enum' and 'date-time' are supported for STRING type")
        properties = schema.get("properties", {})
        for i, name in enumerate(schema.get("required", [])):
            if name not in properties:
                self.named(f"{at}.required[{i}]", "property is not defined")
        for name, inner in properties.items():
            self.check_schema(f"{at}.properties[{name}]", inner)
        for i, inner in enumerate(schema.get("anyOf", [])):
            self.check_schema(f"{at}.any_of[{i}]", inner)
        if "items" in schema:
            self.check_schema(f"{at}.items", schema["items"])
