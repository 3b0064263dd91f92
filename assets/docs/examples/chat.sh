#!/bin/sh
# Asks a model with curl: once for the whole answer, once as a stream.
set -eu

address="${DRAGOMAN_URL:-http://localhost:8317}"
model="${DRAGOMAN_MODEL:-demo-chat}"
key="${DRAGOMAN_KEY:-none}" # not looked at for your own programs on this machine

ask() {
  curl --silent --show-error --fail-with-body --no-buffer "$address/v1/chat/completions" \
    --header "Authorization: Bearer $key" \
    --data "{\"model\": \"$model\", \"stream\": $1,
             \"messages\": [{\"role\": \"user\", \"content\": \"Say hello.\"}]}"
}

echo "The whole answer:"
ask false
echo
echo "As a stream:"
ask true
