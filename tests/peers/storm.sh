#!/bin/sh
# curl with retry, as people write it: create, then ask where it is and send the rest, until it is there.
#
#   storm.sh FILE URL
set -u
file=$1 url=$2
length=$(stat -c %s "$file") name=$(basename "$file" | tr -d '\n' | base64)
ask() { curl -sS --fail --retry 100 --retry-delay 1 --retry-all-errors -H 'Tus-Resumable: 1.0.0' "$@"; }
field() { tr -d '\r' | sed -n "s/^$1: //Ip"; }

path=$(ask -D - -o /dev/null -X POST -H "Upload-Length: $length" -H "Upload-Metadata: filename $name" \
    "$url/files/" | field location)
while offset=$(ask -I "$url$path" | field upload-offset); [ "$offset" -lt "$length" ]; do
    curl -s -o /dev/null -X PATCH -C "$offset" -T "$file" -H 'Tus-Resumable: 1.0.0' -H 'Content-Range:' -H 'Expect:' \
        -H 'Content-Type: application/offset+octet-stream' -H "Upload-Offset: $offset" "$url$path"
done
