#!/bin/sh
# One turn of a coding agent as people start it in a script: KEY MODEL MODE, where the mode is the agent. $AGENT is its
# program; opencode and pi know their models by name, so theirs is always the same. The shell becomes the agent, so the process id stays.
key=$1 model=$2 mode=$3
prompt='Say hello. PROMPT-CANARY-51c9'
mkdir -p "$HOME/$mode/work" && cd "$HOME/$mode/work" || exit 2
export HOME="$HOME/$mode"
echo $$
case $mode in
  claude)
    export ANTHROPIC_API_KEY="$key" DISABLE_AUTOUPDATER=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
    exec "$AGENT" --model "$model" --print "$prompt" ;;
  codex)
    export CODEX_API_KEY="$key"
    exec "$AGENT" exec --skip-git-repo-check --model "$model" "$prompt" ;;
  opencode)
    export ANTHROPIC_API_KEY="$key" OPENCODE_DISABLE_AUTOUPDATE=1
    exec "$AGENT" run --model "anthropic/claude-sonnet-4-5" "$prompt" ;;
  gemini)
    export GEMINI_API_KEY="$key" GEMINI_CLI_NO_RELAUNCH=true
    exec node "$AGENT" --skip-trust --model "$model" --prompt "$prompt" ;;
  copilot)
    export COPILOT_PROVIDER_BASE_URL=https://api.openai.com/v1 COPILOT_PROVIDER_API_KEY="$key" COPILOT_MODEL="$model"
    exec "$AGENT" --no-auto-update --allow-all-tools --prompt "$prompt" ;;
  qwen)
    export OPENAI_API_KEY="$key" OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_MODEL="$model"
    exec node "$AGENT" --auth-type openai --prompt "$prompt" ;;
  pi)
    export ANTHROPIC_API_KEY="$key"
    exec node "$AGENT" --provider anthropic --model claude-sonnet-4-5 --print "$prompt" ;;
  *) echo "unknown agent $mode" >&2; exit 2 ;;
esac
