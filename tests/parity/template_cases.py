"""Templates for test_template.py: whole ones in the style of the big families, and short ones that each
exercise a construct. Written for these tests."""

CHATML = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages and messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages and messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA3 = """\
{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- This block checks for alternating user/assistant messages, skipping tool calling messages #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

DEEPSEEK = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<\uff5cUser\uff5c>' + message['content']|string}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<\uff5cAssistant\uff5c><\uff5ctool\u2581calls\u2581begin\uff5c>' + tool['type'] + '<\uff5ctool\u2581sep\uff5c>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<\uff5ctool\u2581outputs\u2581end\uff5c>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<\uff5cAssistant\uff5c>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<\uff5ctool\u2581output\u2581begin\uff5c>' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<\uff5ctool\u2581outputs\u2581end\uff5c>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<\uff5cAssistant\uff5c>'}}{% endif %}"""

GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ "none" }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""

TYPESCRIPT = """\
{%- macro type_of(spec, indent="") -%}
    {%- if spec.type == "array" -%}
        {%- if spec['items'] -%}
            {{- type_of(spec['items'], indent) + "[]" }}
        {%- else -%}
            {{- "any[]" }}
        {%- endif -%}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string -%}
        {{- spec.type | map('upper') | join(" | ") }}
    {%- elif spec.type == "object" -%}
        {{- "{\\n" }}
        {%- for name, inner in spec.properties.items() -%}
            {{- indent + name + ("" if name in (spec.required or []) else "?") + ": " + type_of(inner, indent + "  ") + ",\\n" }}
        {%- endfor -%}
        {{- indent + "}" }}
    {%- elif spec.enum is defined -%}
        {{- '"' + spec.enum|join('" | "') + '"' -}}
    {%- else -%}
        {{- spec.type|default("any") -}}
    {%- endif -%}
    {%- if spec.default is defined %} // default: {{ spec.default|tojson }}{% endif -%}
{%- endmacro -%}
{%- macro section(title) -%}
## {{ title|capitalize }}
{{ caller() }}
{% endmacro -%}
{%- if tools -%}
    {%- call section("functions") -%}
        {%- for tool in tools -%}
            {%- set f = tool.function -%}
            {{- "// " + f.description|default("none", true)|replace("\\n", " ") + "\\n" -}}
            {{- "type " + f.name + " = (" -}}
            {%- if f.parameters.properties -%}{{- "_: " + type_of(f.parameters, "  ") -}}{%- endif -%}
            {{- ") => any;\\n" -}}
        {%- endfor -%}
    {%- endcall -%}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == "tool" %}{% continue %}{% endif -%}
    {%- if loop.index > 5 %}{% break %}{% endif -%}
    <|{{ message.role }}|>
    {%- generation %}{{ message.content if message.content is string else "" }}{% endgeneration -%}
    {%- if loop.previtem is defined and loop.previtem.role == message.role %} (again){% endif -%}
    {%- if loop.nextitem is defined %} -> {{ loop.nextitem.role }}{% endif %}
<|end|>
{% else %}
nothing
{% endfor -%}
"""

PHI3 = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

PHI4 = """\
{% for message in messages %}
{%- if message['role'] in ['system', 'user', 'assistant'] %}
{{- '<|im_start|>' ~ message['role'] ~ '<|im_sep|>' ~ message['content'] ~ '<|im_end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}
"""

FALCON3 = """\
{%- if tools %}
{{- '<|system|>\\n' }}
{%- if messages[0]['role'] == 'system' %}
{{- messages[0]['content'] }}
{%- set remaining = messages[1:] %}
{%- else %}
{%- set remaining = messages %}
{%- endif %}
{{- '\\nYou may call these functions: \\n<tools>\\n' }}
{%- for tool in tools %}{{- tool | tojson }}{{- '\\n' }}{%- endfor %}
{{- '</tools>\\n' }}
{%- else %}
{%- set remaining = messages %}
{%- endif %}
{%- for message in remaining %}
{%- if message['role'] == 'assistant' and message.tool_calls %}
{%- for call in message.tool_calls %}{{- '<|assistant|>\\n<tool_call>\\n' ~ call.function | tojson ~ '\\n</tool_call>' }}{%- endfor %}
{{- eos_token ~ '\\n' }}
{%- elif message['role'] == 'assistant' %}
{%- if not loop.last %}{{- '<|assistant|>\\n' + message['content'] + eos_token + '\\n' }}
{%- else %}{{- '<|assistant|>\\n' + message['content'] + eos_token }}{%- endif %}
{%- elif message['role'] == 'tool' %}{{- '<|user|>\\n<tool_response>\\n' ~ message.content ~ '\\n</tool_response>\\n' }}
{%- else %}{{- '<|' ~ message['role'] ~ '|>\\n' + message['content'] + '\\n' }}
{%- endif %}
{%- if loop.last and add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}
{%- endfor %}
"""

QWEN2_5 = """\
{%- set default_system = 'You are a helper.' %}
{%- if messages and messages[0]['role'] == 'system' %}{%- set start = messages[0]['content'] %}{%- else %}{%- set start = default_system %}{%- endif %}
{{- '<|im_start|>system\\n' + start }}
{%- if tools %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools>" }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

# Marks what the model generates, also inside a macro and a loop.
TRAINING = """\
{%- macro calls(message) %}{% for call in message.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}{% endmacro %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content or '' }}{{ calls(message) }}{{ '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}
{{- message.content | string + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""

STYLES = {
    "phi3": PHI3,
    "phi4": PHI4,
    "falcon3": FALCON3,
    "qwen2_5": QWEN2_5,
    "training": TRAINING,
    "chatml": CHATML,
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "deepseek": DEEPSEEK,
    "gemma": GEMMA,
    "typescript": TYPESCRIPT,
}

# (template, does it fail?)
SNIPPETS = [
    # White space control.
    ("a\n{% if true %}\n  b\n{% endif %}\nc\n", False),
    ("  {% if true %}x{% endif %}  \n  {%+ if true %}y{% endif +%}\n z {{- 1 -}} \n w", False),
    ("a {#- c -#} b {# c #}\n d\n   {# e #}\nf {{ '}}' }} {{ {'a': {'b': 1}}.a.b }}", False),
    ("{% raw %}{{ x }} {% if %}{% endraw %}\n{%- raw -%}  a  {%- endraw -%}  b\n  {% raw %}\n c\n  {% endraw %}\nd", False),
    ("line\r\n{% set x = 1 %}\r\n{{ x }}\r end\n\n", False),
    ("{{ 1 }}\n{{ 2 }}\n   {{ 3 }}   \n\t{% set a = 1 %}\t\n{{ a }}{% set b = 2 %}{{ b }}", False),
    # Literals and output.
    ("{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 1e16 }} {{ 1.5e-7 }} {{ 0x1f }} {{ 0b11 }} {{ 1_000 }} {{ 123456789.123456789 }}", False),
    ("{{ true }} {{ False }} {{ none }} {{ None }} {{ nope }} {{ [nope] }} {{ 'a' 'b' }} {{ \"q'\" }}", False),
    ("{{ 'a\\n\\t\\x41\\u00e9\\101\\q\\'' }}|{{ [ 'a', \"b'c\", 'd\"e', 'f\\'g\"', '\\n\\x07\\u200b\\U0001f600é' ] }}", False),
    ("{{ [1, 2.0, none, true, 'x', (1,), (1, 2), [], {}, {'a': 1, 2: [3]}] }} {{ () }} {{ (1) }}", False),
    ("{{ mapping }} {{ mapping.a }} {{ mapping['items'] }} {{ mapping.é }} {{ pi }} {{ big }} {{ nothing }}", False),
    # Arithmetic and comparison.
    ("{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}", False),
    ("{{ 1 + 2 * 3 - 4 }} {{ 'a' + 'b' * 3 }} {{ [1] + [2] * 2 }} {{ (1, 2) + (3,) }} {{ -3 ** 2 }} {{ true + 1 }} {{ 1 ~ 2 ~ none ~ [1] }}", False),
    ("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 'x' == none }} {{ 1 != 2 }} {{ nope == nah }}", False),
    ("{{ 'b' in 'abc' }} {{ 'x' not in ['x'] }} {{ 'a' in mapping }} {{ 3 in items_list }} {{ not 1 in [1] }} {{ 'a' in nope }}", False),
    ("{{ 1 and 0 or 'x' }} {{ '' or none }} {{ not '' }} {{ 1 if nope else 2 }} {{ 'y' if true }}{{ 'n' if false }} {{ 1 if false else 2 if false else 3 }}", False),
    ("{{ 0.1 + 0.2 }} {{ 1e22 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }} {{ 100000000000000000000 }} {{ 1/3 }} {{ 3.0 * 2 }} {{ 1e5 }} {{ 0.0001 }} {{ 0.00001 }}", False),
    # Subscripts and slices.
    ("{{ text[2] }} {{ text[-3] }} {{ text[::-1] }} {{ text[5:9] }} {{ text[:-20] }} {{ text[99:] }} {{ text[::3] }}|{{ text[999] }}", False),
    ("{{ items_list[1:] }} {{ items_list[::-1] }} {{ items_list[-2:] }} {{ items_list[3:0:-2] }} {{ items_list[:2] }} {{ items_list.0 }} {{ items_list[9] is defined }}", False),
    ("{{ messages[0]['role'] }} {{ messages[-1].content }} {{ messages[0].nope }} {{ messages[0].items() | list }} {{ messages[0].get('x', 'd') }} {{ messages[0].keys() | list }}", False),
    # Statements.
    ("{% for x in items_list %}{{ loop.index }}/{{ loop.length }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }} {{ loop.cycle('a', 'b') }} {{ loop.changed(x) }} {{ loop.depth }};{% else %}none{% endfor %}", False),
    ("{% for x in items_list if x > 1 %}{{ loop.index }}:{{ x }}{{ ',' if not loop.last }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.length }}{% endfor %}{% for x in empty %}{% else %}E{% endfor %}", False),
    ("{% set ns = namespace(n=0, stop=false) %}{% for x in items_list if not ns.stop %}{% set ns.n = ns.n + x %}{% if x == 1 %}{% set ns.stop = true %}{% endif %}{{ x }}{% endfor %}={{ ns.n }}", False),
    ("{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}{% for c in 'aé日' %}[{{ c }}]{% endfor %}{% for k in mapping %}{{ k }}{% endfor %}", False),
    ("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}", False),
    ("{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% else %}{{ i }}{% endif %}{% endfor %} {{ range(2, 10, 3) | list }} {{ range(5, 0, -2) | list }}", False),
    ("{% set a, b = 1, (2, 3) %}{{ a }} {{ b }}{% set c %}block {{ a }}{% endset %}[{{ c }}]{% set d | upper | replace('B', 'x') %}b{{ c }}{% endset %}{{ d }}{% with q = 5, r = a %}{{ q + r }}{% endwith %}{{ q }}", False),
    ("{% macro f(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{{ varargs }}{{ kwargs }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c=5) }}{{ f(1, 2, 3, 4, z=9) }}{{ f() }}{{ f.name }}", False),
    ("{% macro wrap(tag) %}<{{ tag }}>{{ caller('x') }}</{{ tag }}>{% endmacro %}{% call(v) wrap('b') %}in {{ v }}{% endcall %}{% filter upper | trim %}  abc {{ 1 }} {% endfilter %}", False),
    ("{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(5) }}{% set y = 3 %}{% macro g() %}{{ y }}{% endmacro %}{% set y = 4 %}{{ g() }}", False),
    ("{% set f = joiner(', ') %}{% for x in items_list %}{{ f() }}{{ x }}{% endfor %} {{ dict(a=1, b=2) }} {{ dict([('x', 1)], y=2) }} {{ dict(**mapping) | length }} {{ [*items_list] if false else 'n' }}", True),
    ("{% generation %}{{ messages | length }}{% set inner = 1 %}{% endgeneration %}{{ inner }}|", False),
    # Filters.
    ("{{ text | trim }}|{{ text | upper }}|{{ text | lower }}|{{ text | title }}|{{ text | capitalize }}|{{ text | length }}|{{ text | e }}", False),
    ("{{ 'abc' | first }} {{ 'abc' | last }} {{ [] | first }} {{ items_list | sort }} {{ items_list | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ items_list | unique | list }} {{ words | unique | join }}", False),
    ("{{ items_list | sum }} {{ items_list | min }} {{ items_list | max }} {{ words | max }} {{ people | sum(attribute='age') }}", True),
    ("{{ people[:2] | sum(attribute='age') }} {{ people | map(attribute='name') | list }} {{ people | map(attribute='age', default=0) | list }} {{ words | map('upper') | join('+') }} {{ people | join(',', attribute='name') }}", False),
    ("{{ people | selectattr('age') | list | length }} {{ people[:2] | selectattr('age', 'gt', 5) | map(attribute='name') | first }}", False),
    ("{{ people | selectattr('age', 'defined') | map(attribute='name') | list }} {{ people | rejectattr('name', 'in', ['bo']) | list }} {{ items_list | select('odd') | list }} {{ items_list | reject('equalto', 1) | list }} {{ [0, 1, ''] | select | list }}", False),
    ("{% set g = messages | selectattr('role', 'equalto', 'nobody') %}{{ 'yes' if g else 'no' }}{{ g | list }}{% for x in items_list | map('string') %}{{ x }}{% endfor %}{% set h = items_list | map('int') %}{{ h | first }}{{ h | list }}{{ h | list }}", False),
    ("{{ mapping | tojson }}\n{{ mapping | tojson(indent=2) }}\n{{ mapping | tojson(sort_keys=true, separators=(',', ':')) }}\n{{ mapping | tojson(ensure_ascii=true) }}{{ [] | tojson(indent=2) }}{{ {'a': [], 'b': {}} | tojson(indent='-') }}", False),
    ("{{ text | tojson }} {{ [1.0, 1e20, 1e-9, pi, big, none, true] | tojson }} {{ '\\u2028<>&\\x1f\\x7f' | tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 6} | tojson }}", False),
    ("{{ '3.7' | int }} {{ 'x' | int(5) }} {{ ' 12 ' | int }} {{ '0x1A' | int(0, 16) }} {{ 3.9 | int }} {{ '1e2' | float }} {{ 'y' | float(2.5) }} {{ 7 | float }} {{ -3 | abs }} {{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 3.2 | round(method='ceil') }} {{ 1234 | round(-2) }} {{ 7 | round }}", False),
    ("{{ nope | default('d') }} {{ '' | default('d') }} {{ '' | default('d', true) }} {{ none | d('x', boolean=true) }} {{ nope | length }} {{ nope | list }} {{ nope | join }}|{{ nope | upper }}|{{ nope | trim }}|{{ nope | string }}|{{ nope | replace('a', 'b') }}", False),
    ("{{ text | replace('o', '0') }} {{ 'aaaa' | replace('a', 'b', 2) }} {{ 'abc' | replace('', '-') }} {{ 5 | replace(5, 6) }} {{ text | indent }} {{ 'a\\n\\nb\\n' | indent(2, true, true) }} {{ 'a\\nb' | indent('> ', first=true) }}", False),
    ("{{ mapping | dictsort }} {{ {'b': 1, 'A': 2, 'c': 0} | dictsort(by='value', reverse=true) }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ mapping | items | list }} {{ 'abc' | reverse }} {{ [1, 2] | reverse | list }} {{ 'ab' | list }}", False),
    ("{{ 'abc' | center(8) }}| {{ '%s is %d and %.2f%%' | format('x', 3, 1.005) }} {{ '%5s|%-5s|%05d|%x|%r' % ('a', 'b', 42, 255, 'q') }} {{ 'a' | string | safe }} {{ items_list | batch(3) | list }} {{ items_list | batch(3, 0) | list }}", False),
    ("{% for age, group in people[:2] | groupby('age') %}{{ age }}:{{ group | map(attribute='name') | join }};{% endfor %}{{ people | sort(attribute='name') | map(attribute='name') | list }} {{ people | attr('x') }}", False),
    # Tests.
    ("{{ x is defined }} {{ nope is undefined }} {{ none is none }} {{ 1 is number }} {{ true is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ 'a' is string }} {{ mapping is mapping }} {{ [] is sequence }} {{ mapping is sequence }} {{ 5 is iterable }} {{ 'a' is iterable }}", False),
    ("{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(4) }} {{ 1 is equalto 1 }} {{ 1 is eq(2) }} {{ 2 is gt 1 }} {{ 'a' is in ['a'] }} {{ 'a' is not in 'b' }} {{ none is sameas none }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ range is callable }} {{ true is true }} {{ 1 is true }} {{ 0 is false }} {{ false is false }}", False),
    ("{{ nope is iterable }} {{ nope is sequence }} {{ nope is mapping }} {{ nope is string }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ 1 is not defined or true }} {{ messages[0] is mapping and messages is not string }} {{ not x is defined }}", False),
    # Methods.
    ("{{ text.strip() }}|{{ ' xx '.lstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a b  c'.split() }}|{{ seps.split(',') }}|{{ seps.split(',', 1) }}|{{ 'a.b.c'.rsplit('.', 1) }}|{{ ' a b  c '.split(none, 1) }}|{{ 'a-b'.partition('-') }}", False),
    ("{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'äbc'.index('c') }} {{ 'aXbX'.rfind('X') }} {{ 'abab'.count('ab') }} {{ 'abc'.replace('b', 'x') }} {{ 'a b'.title() }} {{ 'they\\'re bill\\'s'.title() }} {{ 'aBc'.upper().lower().capitalize() }}", False),
    ("{{ '-'.join(['a', 'b']) }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'ab1'.isalnum() }} {{ ' '.isspace() }} {{ 'Ab'.islower() }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ '{} {1} {a} {{}}'.format('x', 'y', a=3) }}", True),
    ("{{ '{} {} {a} {{}} {b[0]} {c.role!r}'.format('x', none, a=3, b=[7], c=messages[0]) }} {{ mapping.values() | list }} {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} {{ messages[0].get('nope') }} {{ mapping.get('b') + 1 }}", False),
    # Markup, unknown filters in branches not taken, self, odd subscripts.
    ("{{ '<b>' | safe + '<i>' }} {{ '<' + ('&' | e) }} {{ ('<b>%s</b>' | safe) % '<x>' }} {{ ('<b>{}</b>' | safe).format('<x>') }} {{ '<' | safe ~ '<' }} {{ ['<' | safe] }} {{ ('<' | e | e) }}", False),
    ("{{ (', ' | safe).join(['<', '>' | safe]) }} {{ ('<a>' | safe).replace('a', '<') }} {{ ('<a>' | safe | replace('a', '<')) + '<' }} {{ ('<a>' | safe)[1:] + '<' }} {{ ('<a>' | safe | upper) + '<' }} {{ ('<' | safe) * 2 + '<' }}", False),
    ("{% if false %}{{ 1 | nofilter }}{{ 1 is notest }}{% endif %}{{ (1 | nofilter) if false else 2 }}", False),
    ("{% if true %}{{ 1 | nofilter }}{% endif %}", True),
    ("{% if false %}{% for x in [] %}{{ 1 | nofilter }}{% endfor %}{% endif %}", True),
    ("{{ self.nothing }}{{ self.x is defined }}{{ dict.from_pairs([('a', 1)]) }}{{ mapping[[1]] }}{{ mapping[{}] is defined }}", False),
    ("{{ 'x' % [1] }}|{{ 'x' % nope }}|{{ 'x' % {} }}|{{ ('<a' | safe) | list }}", False),
    ("{{ number[1:] }}", True),
    # The clock.
    ("{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %B %A %a %j %y %-d %e %p %I %%') }}{{ strftime_now('é' ~ messages[0].role) }}", False),
    # Failures.
    ("{{ raise_exception('no ' + messages[0].role) }}", True),
    ("{{ nope.attr }}", True),
    ("{{ nope + 'x' }}", True),
    ("{{ messages.append(1) }}", True),
    ("{{ mapping.update({}) }}", True),
    ("{{ ''.__class__.__mro__ }}", True),
    ("{{ 'a' + 1 }}", True),
    ("{{ 1 / 0 }}", True),
    ("{{ nope() }}", True),
    ("{{ [1, 'a'] | sort }}", True),
    ("{{ range(1000000) | length }}", True),
    ("{% set messages[0].x = 1 %}", True),
    ("{% set mapping.x = 1 %}", True),
    ("{% for a, b in [1] %}{% endfor %}", True),
    ("{{ nope | tojson }}", True),
    ("{{ 1 | nofilter }}", True),
    ("{% if %}x{% endif %}", True),
    ("{% for x in y %}", True),
    ("{{ 'abc' }", True),
    ("{{ (1, 2 }}", True),
    ("{% unknown %}", True),
    ("{% break %}", True),
]
