"""The scripts of the shell integration, one per shell.

At each prompt a script looks whether Dragoman answers and, when that changed, sets or unsets
variables. The look is built of what the shell itself has: without a running Dragoman it is one look
for a file; with one, reading that file and a signal that does nothing. Before variables are set it
also connects on loopback, but not at each prompt: an instance that hangs must not make shells hang.
fish has no sockets and leaves that out. A variable that the user set is never touched, and a
placeholder key is set only beside a base address that is ours. What was set is noted in
``DRAGOMAN_SHELL`` (port, then names), which shells inside of shells inherit.

``@FILE@`` is ``instance.json``, ``@EXTRA@`` a folder of further ``NAME=value`` files, ``@WORDS@``
what can follow each command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

__all__ = ["SHELLS", "CommandWords", "ShellName", "quoted", "render_script"]

ShellName: TypeAlias = Literal["bash", "zsh", "fish", "powershell"]
SHELLS: Final[tuple[ShellName, ...]] = ("bash", "zsh", "fish", "powershell")

CommandWords: TypeAlias = Mapping[tuple[str, ...], Sequence[str]]
"""Commands as typed, without the program's name → what can follow."""

_VARIABLES: Final = (
    ("OPENAI_BASE_URL", "/v1"),
    ("OPENAI_API_BASE", "/v1"),
    ("OPENAI_API_KEY", None),
    ("ANTHROPIC_BASE_URL", ""),
    ("ANTHROPIC_AUTH_TOKEN", None),
    ("GOOGLE_GEMINI_BASE_URL", ""),
    ("GEMINI_API_KEY", None),
)
"""Name → what follows the address; None is the placeholder key. A key stands after its address."""

_BASH = r"""# Dragoman: environment for agents and SDKs while it answers, and completion.
__dragoman_file=@FILE@
__dragoman_extra=@EXTRA@

__dragoman_port() {
  local text='' pid='"pid":([0-9]+)' port='"port":([0-9]+)'
  REPLY=''
  [[ -r $__dragoman_file ]] || return 1
  IFS= read -r text <"$__dragoman_file" || [[ -n $text ]] || return 1
  [[ $text =~ $pid ]] && kill -0 "${BASH_REMATCH[1]}" 2>/dev/null || return 1
  [[ $text =~ $port ]] || return 1
  port=${BASH_REMATCH[1]}
  [[ $port == "$1" ]] || { true 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 1
  REPLY=$port
}

__dragoman_each() {
  local base="http://127.0.0.1:$2" file line
@PAIRS@
  for file in "$__dragoman_extra"/*.env; do
    [[ -r $file ]] || continue
    while IFS= read -r line || [[ -n $line ]]; do
      line=${line%$'\r'}
      if [[ $line =~ ^([A-Za-z_][A-Za-z0-9_]*)=\'?([^\']*)\'?$ ]]; then
        "$1" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$base"
      fi
    done <"$file"
  done
}

__dragoman_take() {
  [[ -z ${!1+x} ]] || return 0
  case $1 in
    OPENAI_API_KEY) [[ ${OPENAI_BASE_URL-} == "$3/v1" ]] || return 0 ;;
    ANTHROPIC_AUTH_TOKEN)
      [[ ${ANTHROPIC_BASE_URL-} == "$3" && -z ${ANTHROPIC_API_KEY-} ]] || return 0 ;;
    GEMINI_API_KEY)
      [[ ${GOOGLE_GEMINI_BASE_URL-} == "$3" && -z ${GOOGLE_API_KEY-} ]] || return 0 ;;
  esac
  export "$1=$2"
  DRAGOMAN_SHELL+=" $1"
}

__dragoman_drop() {
  if [[ " $DRAGOMAN_SHELL " == *" $1 "* && ${!1-} == "$2" ]]; then
    unset "$1"
  fi
}

__dragoman_check() {
  local last=$? REPLY='' was=${DRAGOMAN_SHELL-}
  was=${was%% *}
  __dragoman_port "$was"
  if [[ $REPLY != "$was" ]]; then
    if [[ -n $was ]]; then
      __dragoman_each __dragoman_drop "$was"
      unset DRAGOMAN_SHELL
    fi
    if [[ -n $REPLY ]]; then
      export DRAGOMAN_SHELL=$REPLY
      __dragoman_each __dragoman_take "$REPLY"
    fi
  fi
  return $last
}

__dragoman_words() {
  case $1 in
@WORDS@
    *) return 1 ;;
  esac
}

__dragoman_complete() {
  local at='' i REPLY=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    if __dragoman_words "$at ${COMP_WORDS[i]}"; then at+=" ${COMP_WORDS[i]}"; fi
  done
  __dragoman_words "$at"
  COMPREPLY=($(compgen -W "$REPLY" -- "${COMP_WORDS[COMP_CWORD]}"))
}

complete -o default -F __dragoman_complete dragoman 2>/dev/null
case " ${PROMPT_COMMAND[*]-} " in
  *__dragoman_check*) ;;
  *)
    if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
      PROMPT_COMMAND=(__dragoman_check "${PROMPT_COMMAND[@]}")
    else
      PROMPT_COMMAND="__dragoman_check${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
    fi
    ;;
esac
__dragoman_check
"""

_ZSH = r"""# Dragoman: environment for agents and SDKs while it answers, and completion.
typeset -g __dragoman_file=@FILE@ __dragoman_extra=@EXTRA@

__dragoman_port() {
  emulate -L zsh
  local text='' pid port
  REPLY=''
  [[ -r $__dragoman_file ]] || return 1
  IFS= read -r text <"$__dragoman_file" || [[ -n $text ]] || return 1
  [[ $text =~ '"pid":([0-9]+)' ]] || return 1
  kill -0 $match[1] 2>/dev/null || return 1
  [[ $text =~ '"port":([0-9]+)' ]] || return 1
  port=$match[1]
  if [[ $port != $1 ]] && zmodload zsh/net/tcp 2>/dev/null; then
    ztcp 127.0.0.1 $port 2>/dev/null || return 1
    ztcp -c $REPLY
  fi
  REPLY=$port
}

__dragoman_each() {
  emulate -L zsh -o null_glob
  local base="http://127.0.0.1:$2" file line
@PAIRS@
  for file in $__dragoman_extra/*.env; do
    while IFS= read -r line || [[ -n $line ]]; do
      line=${line%$'\r'}
      if [[ $line =~ "^([A-Za-z_][A-Za-z0-9_]*)='?([^']*)'?$" ]]; then
        "$1" $match[1] "$match[2]" $base
      fi
    done <$file
  done
}

__dragoman_take() {
  (( ${(P)+1} )) && return 0
  case $1 in
    (OPENAI_API_KEY) [[ ${OPENAI_BASE_URL-} == $3/v1 ]] || return 0 ;;
    (ANTHROPIC_AUTH_TOKEN)
      [[ ${ANTHROPIC_BASE_URL-} == $3 && -z ${ANTHROPIC_API_KEY-} ]] || return 0 ;;
    (GEMINI_API_KEY)
      [[ ${GOOGLE_GEMINI_BASE_URL-} == $3 && -z ${GOOGLE_API_KEY-} ]] || return 0 ;;
  esac
  export "$1=$2"
  DRAGOMAN_SHELL+=" $1"
}

__dragoman_drop() {
  if [[ " $DRAGOMAN_SHELL " == *" $1 "* && ${(P)1-} == $2 ]]; then
    unset $1
  fi
}

__dragoman_check() {
  local last=$? REPLY='' was=${DRAGOMAN_SHELL-}
  was=${was%% *}
  __dragoman_port "$was"
  if [[ $REPLY != $was ]]; then
    if [[ -n $was ]]; then
      __dragoman_each __dragoman_drop $was
      unset DRAGOMAN_SHELL
    fi
    if [[ -n $REPLY ]]; then
      export DRAGOMAN_SHELL=$REPLY
      __dragoman_each __dragoman_take $REPLY
    fi
  fi
  return $last
}

__dragoman_words() {
  case $1 in
@WORDS@
    (*) return 1 ;;
  esac
}

_dragoman() {
  local at='' word REPLY=''
  for word in ${words[2,CURRENT-1]}; do
    if __dragoman_words "$at $word"; then at+=" $word"; fi
  done
  __dragoman_words $at
  compadd -- ${=REPLY}
  _files 2>/dev/null
}

(( $+functions[compdef] )) && compdef _dragoman dragoman
autoload -Uz add-zsh-hook && add-zsh-hook precmd __dragoman_check
__dragoman_check
"""

_FISH = r"""# Dragoman: environment for agents and SDKs while it answers, and completion.
set -g __dragoman_file @FILE@
set -g __dragoman_extra @EXTRA@

function __dragoman_port
    test -r $__dragoman_file; or return 1
    set -l text
    read -l -z text <$__dragoman_file
    set -l pid (string match -r '"pid":([0-9]+)' -- "$text")[2]
    set -l port (string match -r '"port":([0-9]+)' -- "$text")[2]
    test -n "$pid" -a -n "$port"; or return 1
    kill -0 $pid 2>/dev/null; or return 1
    echo $port
end

function __dragoman_each
    set -l base "http://127.0.0.1:$argv[2]"
@PAIRS@
    for file in $__dragoman_extra/*.env
        while read -l line
            set -l pair (string match -r "^([A-Za-z_][A-Za-z0-9_]*)='?([^'\r]*)'?\r?\$" -- $line)
            test (count $pair) -ge 2; and $argv[1] $pair[2] "$pair[3]" $base
        end <$file
    end
end

function __dragoman_take
    set -q $argv[1]; and return 0
    switch $argv[1]
        case OPENAI_API_KEY
            test "$OPENAI_BASE_URL" = "$argv[3]/v1"; or return 0
        case ANTHROPIC_AUTH_TOKEN
            test "$ANTHROPIC_BASE_URL" = $argv[3] -a -z "$ANTHROPIC_API_KEY"; or return 0
        case GEMINI_API_KEY
            test "$GOOGLE_GEMINI_BASE_URL" = $argv[3] -a -z "$GOOGLE_API_KEY"; or return 0
    end
    set -gx $argv[1] $argv[2]
    set -gx DRAGOMAN_SHELL "$DRAGOMAN_SHELL $argv[1]"
end

function __dragoman_drop
    contains -- $argv[1] (string split ' ' -- $DRAGOMAN_SHELL); or return 0
    test "$$argv[1]" = $argv[2]; and set -e $argv[1]
    return 0
end

function __dragoman_check --on-event fish_prompt
    set -l last $status
    set -l now (__dragoman_port)
    set -l was (string split ' ' -- "$DRAGOMAN_SHELL")[1]
    if test "$now" != "$was"
        if test -n "$was"
            __dragoman_each __dragoman_drop $was
            set -e DRAGOMAN_SHELL
        end
        if test -n "$now"
            set -gx DRAGOMAN_SHELL $now
            __dragoman_each __dragoman_take $now
        end
    end
    return $last
end

function __dragoman_words
    switch "$argv[1]"
@WORDS@
        case '*'
            return 1
    end
end

function __dragoman_complete
    set -l at ''
    for word in (commandline -opc)[2..-1]
        if __dragoman_words "$at $word" >/dev/null
            set at "$at $word"
        end
    end
    set -l token (commandline -ct)
    set -l fitting (__dragoman_words $at | string match -- "$token*")
    if test (count $fitting) -gt 0
        string join -- \n $fitting
    else
        __fish_complete_path "$token"
    end
end

complete -c dragoman -f -a '(__dragoman_complete)'
__dragoman_check
"""

_POWERSHELL = r"""# Dragoman: environment for agents and SDKs while it answers, and completion.
$global:DragomanFile = @FILE@
$global:DragomanExtra = @EXTRA@

function global:Get-DragomanPort([string]$was) {
    if (-not [IO.File]::Exists($global:DragomanFile)) { return '' }
    try { $text = [IO.File]::ReadAllText($global:DragomanFile) } catch { return '' }
    if ($text -notmatch '"pid":([0-9]+)') { return '' }
    if (-not (Get-Process -Id $Matches[1] -ErrorAction SilentlyContinue)) { return '' }
    if ($text -notmatch '"port":([0-9]+)') { return '' }
    $port = $Matches[1]
    if ($port -eq $was) { return $port }
    $client = New-Object Net.Sockets.TcpClient
    try {
        if ($client.ConnectAsync('127.0.0.1', [int]$port).Wait(100)) { return $port }
    } catch { }
    finally { $client.Dispose() }
    return ''
}

function global:Get-DragomanPairs([string]$port) {
    $base = "http://127.0.0.1:$port"
@PAIRS@
    if ([IO.Directory]::Exists($global:DragomanExtra)) {
        foreach ($file in [IO.Directory]::GetFiles($global:DragomanExtra, '*.env')) {
            foreach ($line in [IO.File]::ReadAllLines($file)) {
                if ($line -match "^([A-Za-z_][A-Za-z0-9_]*)='?([^']*)'?$") {
                    , @($Matches[1], $Matches[2])
                }
            }
        }
    }
}

function global:Test-DragomanKey([string]$name, [string]$base) {
    switch ($name) {
        'OPENAI_API_KEY' { return $env:OPENAI_BASE_URL -eq "$base/v1" }
        'ANTHROPIC_AUTH_TOKEN' {
            return $env:ANTHROPIC_BASE_URL -eq $base -and -not $env:ANTHROPIC_API_KEY
        }
        'GEMINI_API_KEY' {
            return $env:GOOGLE_GEMINI_BASE_URL -eq $base -and -not $env:GOOGLE_API_KEY
        }
    }
    return $true
}

function global:Update-DragomanEnvironment {
    $names = @("$env:DRAGOMAN_SHELL" -split ' ')
    $now = Get-DragomanPort $names[0]
    if ($now -eq $names[0]) { return }
    if ($names[0]) {
        foreach ($pair in @(Get-DragomanPairs $names[0])) {
            $value = [Environment]::GetEnvironmentVariable($pair[0])
            if ($names -contains $pair[0] -and $value -eq $pair[1]) {
                [Environment]::SetEnvironmentVariable($pair[0], $null)
            }
        }
        $env:DRAGOMAN_SHELL = $null
    }
    if ($now) {
        $taken = @($now)
        foreach ($pair in @(Get-DragomanPairs $now)) {
            $value = [Environment]::GetEnvironmentVariable($pair[0])
            if ($null -eq $value -and (Test-DragomanKey $pair[0] "http://127.0.0.1:$now")) {
                [Environment]::SetEnvironmentVariable($pair[0], $pair[1])
                $taken += $pair[0]
            }
        }
        $env:DRAGOMAN_SHELL = $taken -join ' '
    }
}

$global:DragomanWords = @{
@WORDS@
}

Register-ArgumentCompleter -Native -CommandName dragoman -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $at = ''
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        $next = "$at $element"
        if ($global:DragomanWords.ContainsKey($next)) { $at = $next }
    }
    $global:DragomanWords[$at] | Where-Object { $_ -like "$wordToComplete*" } |
        ForEach-Object { [Management.Automation.CompletionResult]::new($_) }
}

if (-not $global:DragomanPrompt) {
    $global:DragomanPrompt = $function:prompt
    function global:prompt {
        Update-DragomanEnvironment
        & $global:DragomanPrompt
    }
}
Update-DragomanEnvironment
"""

_SCRIPTS: Final[Mapping[ShellName, str]] = {
    "bash": _BASH,
    "zsh": _ZSH,
    "fish": _FISH,
    "powershell": _POWERSHELL,
}


def render_script(
    shell: ShellName, instance_file: str, extra: str, words: CommandWords, key: str
) -> str:
    """Return the script of a shell.

    Args:
        shell: which one.
        instance_file: path of ``instance.json``.
        extra: folder of further variables.
        words: what completion offers.
        key: the placeholder key.
    """
    pairs = "\n".join(_pair(shell, name, ending, key) for name, ending in _VARIABLES)
    lines = "\n".join(_words(shell, at, following) for at, following in words.items())
    parts = {
        "@FILE@": quoted(shell, instance_file),
        "@EXTRA@": quoted(shell, extra),
        "@PAIRS@": pairs,
        "@WORDS@": lines,
    }
    text = _SCRIPTS[shell]
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def quoted(shell: ShellName, text: str) -> str:
    """Return a text as one word of a shell, nothing in it expanded."""
    match shell:
        case "fish":
            escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        case "powershell":
            escaped = text.replace("'", "''")
        case _:
            escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"


def _pair(shell: ShellName, name: str, ending: str | None, key: str) -> str:
    value = key if ending is None else f"$base{ending}"
    match shell:
        case "fish":
            return f'    $argv[1] {name} "{value}" $base'
        case "powershell":
            return f"    , @('{name}', \"{value}\")"
        case _:
            return f'  "$1" {name} "{value}" "$base"'


def _words(shell: ShellName, at: tuple[str, ...], following: Sequence[str]) -> str:
    path = quoted(shell, "".join(f" {word}" for word in at))
    match shell:
        case "fish":
            listed = " ".join(quoted(shell, word) for word in following)
            return f"        case {path}\n            string join -- \\n {listed}"
        case "powershell":
            return f"    {path} = @({', '.join(quoted(shell, word) for word in following)})"
        case "zsh":
            return f"    ({path}) REPLY={quoted(shell, ' '.join(following))} ;;"
        case _:
            return f"    {path}) REPLY={quoted(shell, ' '.join(following))} ;;"
