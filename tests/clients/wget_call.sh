#!/bin/sh
# One call with wget, which uses GnuTLS on Debian: KEY MODEL MODE. The shell becomes wget, so the process id stays.
key=$1 model=$2
body="{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"PROMPT-CANARY-51c9\"}]}"
echo $$
exec wget --quiet --output-document /dev/null --ca-certificate "$SSL_CERT_FILE" \
  --header 'content-type: application/json' --header "authorization: Bearer $key" \
  --post-data "$body" https://api.openai.com/v1/chat/completions
