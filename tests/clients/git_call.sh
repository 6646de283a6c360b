#!/bin/sh
# A look at a repository with git, which uses GnuTLS on Debian: KEY MODEL MODE. There is none, which is no failure here.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0="authorization: Bearer $1"
export GIT_SSL_CAINFO="$SSL_CERT_FILE"
/usr/lib/git-core/git-remote-https origin https://api.openai.com/v1/repository 2>/dev/null <<END &
list
END
echo $!
wait
