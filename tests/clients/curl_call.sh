#!/bin/sh
# One call with curl: KEY MODEL MODE. The shell becomes curl, so the process id stays.
key=$1 model=$2 mode=$3
openai=https://api.openai.com/v1
gateway=https://api.openai.com:8443/v1
anthropic=https://api.anthropic.com/v1
gemini=https://generativelanguage.googleapis.com/v1beta/models
bedrock=https://bedrock-runtime.us-east-1.amazonaws.com/model
chat="{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"PROMPT-CANARY-51c9\"}]}"
stream="{\"model\":\"$model\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[]}"
parts='{"contents":[{"parts":[{"text":"PROMPT-CANARY-51c9"}]}]}'
message='{"messages":[{"role":"user","content":[{"text":"PROMPT-CANARY-51c9"}]}]}'

echo $$
# HTTP/2 only where the mode says so: curl would choose it by itself.
version=--http1.1
case $mode in h2-*) version=--http2; mode=${mode#h2-} ;; esac
set -- $version --silent --show-error --output /dev/null -H 'content-type: application/json'
case $mode in
  chat) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" $openai/chat/completions ;;
  chat-stream) exec curl "$@" -H "authorization: Bearer $key" -d "$stream" $openai/chat/completions ;;
  chat-chunked) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" "$openai/chat/completions?framing=chunked" ;;
  chat-http10) exec curl "$@" --http1.0 -H "authorization: Bearer $key" -d "$chat" $openai/chat/completions ;;
  chat-expect) exec curl "$@" -H 'expect: 100-continue' -H "authorization: Bearer $key" -d "$chat" $openai/chat/completions ;;
  chat-twice) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" $openai/chat/completions --output /dev/null $openai/chat/completions ;;
  gzip | deflate | br | zstd | gzip-unlabelled)
    exec curl "$@" -H "authorization: Bearer $key" -d "$chat" "$openai/chat/completions?encoding=$mode" ;;
  gzip-stream | deflate-stream | br-stream | zstd-stream)
    exec curl "$@" -H "authorization: Bearer $key" -d "$stream" "$openai/chat/completions?encoding=${mode%-stream}" ;;
  messages) exec curl "$@" -H "x-api-key: $key" -d "$chat" $anthropic/messages ;;
  messages-stream) exec curl "$@" --compressed -H "x-api-key: $key" -d "$stream" $anthropic/messages ;;
  gemini) exec curl "$@" -H "x-goog-api-key: $key" -d "$parts" "$gemini/$model:generateContent" ;;
  gemini-query) exec curl "$@" -d "$parts" "$gemini/$model:generateContent?key=$key" ;;
  gemini-stream) exec curl "$@" -H "x-goog-api-key: $key" -d "$parts" "$gemini/$model:streamGenerateContent?alt=sse" ;;
  converse | invoke) exec curl "$@" -H "authorization: Bearer $key" -d "$message" "$bedrock/$model/$mode" ;;
  gateway) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" $gateway/chat/completions ;;
  unrelated) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" https://www.example.com/v1/chat/completions ;;
  clear) exec curl "$@" -H "authorization: Bearer $key" -d "$chat" http://api.openai.com/v1/chat/completions ;;
  clear-h2) exec curl "$@" --http2-prior-knowledge -H "authorization: Bearer $key" -d "$chat" http://api.openai.com/v1/chat/completions ;;
  clear-h2-stream) exec curl "$@" --http2-prior-knowledge -H "authorization: Bearer $key" -d "$stream" http://api.openai.com/v1/chat/completions ;;
  *) echo "unknown mode $mode" >&2; exit 2 ;;
esac
