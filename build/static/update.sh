#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Takes the time zones that the Go toolchain comes with: data of the IANA time
# zone database, which is in the public domain. The certificates come with the
# module golang.org/x/crypto/x509roots/fallback: update that with go get.
set -eu
cd "$(dirname "$0")"
from=$(go env GOROOT)/lib/time
cp "$from/zoneinfo.zip" zoneinfo.zip
sed -n 's/^DATA=//p' "$from/update.bash" >zoneinfo.version
chmod 644 zoneinfo.zip zoneinfo.version
echo "time zones: $(cat zoneinfo.version)"
