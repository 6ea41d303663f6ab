#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the databases in this directory anew. Needs Debian's packages gcc, rpm,
# sqlite3 and db5.3-util (rpm 4.18.0), and, because Debian's rpm leaves one
# format out, rpm's source, from "apt-get source rpm":
#
#	RPM_SOURCE=…/rpm-4.18.0 sh make.sh
#
# The times of day in the databases differ from run to run; what the tests ask
# for does not.
#
#   sqlite.gz   three packages, as rpm writes them to rpmdb.sqlite
#   wal.gz      a tar of rpmdb.sqlite and rpmdb.sqlite-wal: the third package is in the log only
#   ndb.gz      the same as sqlite.gz in rpm's own format, Packages.db
#   bdb.gz      the same in a Berkeley DB hash, Packages; bdb-big.gz in the other byte order
#   small.gz    200 packages in a SQLite file with pages of 512 bytes: a deep tree, overflow pages
set -eu
out=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# pack NAME VERSION RELEASE EPOCH ARCH LINES builds a package without files;
# its description has that many lines.
pack() {
	{
		printf 'Name: %s\nVersion: %s\nRelease: %s\nSummary: a test\nLicense: Apache-2.0\n' "$1" "$2" "$3"
		[ -z "$4" ] || echo "Epoch: $4"
		[ "$5" != noarch ] || echo 'BuildArch: noarch'
		printf '%%description\n'
		i=0
		while [ $i -lt "$6" ]; do echo "line $i of a text that says nothing"; i=$((i + 1)); done
		echo '%files'
	} >"$1.spec"
	rpmbuild -bb --quiet --define "_topdir $tmp/top" --define '_buildhost builder' --define 'debug_package %{nil}' --target "$5" "$1.spec"
	cp "top/RPMS/$5/$1-$2-$3.$5.rpm" "$1.rpm"
}
pack cart 1.2.3 4.el9 '' noarch 1
pack dray 2.0~rc1 1 3 noarch 400
pack horse 7 2 '' x86_64 1

into() { # DIR PACKAGES...
	dir=$1
	shift
	for package; do # one by one, which gives them numbers in this order
		rpm --define '_db_backend sqlite' --dbpath "$tmp/$dir" -i --justdb --nodeps --ignorearch --noscripts "$package"
	done
}
into lite cart.rpm dray.rpm horse.rpm
gzip -9n <lite/rpmdb.sqlite >"$out/sqlite.gz"

# rpm's own writer of its own format, without the rest of rpm. The second
# package goes in, out and in again, which leaves a gap.
mkdir -p stub/rpm
: >stub/rpm/rpmlog.h
cat >stub/system.h <<'END'
#include <stdlib.h>
#define xmalloc malloc
#define xcalloc calloc
#define xrealloc realloc
#define xstrdup strdup
#define rpmlog(...)
END
cat >ndb.c <<'END'
#include <fcntl.h>
#include <stdio.h>
#include "rpmpkg.h"
static void put(rpmpkgdb db, unsigned int n) {
	static unsigned char b[1 << 20];
	char name[32];
	snprintf(name, sizeof name, "blob%u", n);
	FILE *f = fopen(name, "rb");
	if (!f || rpmpkgPut(db, n, b, fread(b, 1, sizeof b, f))) exit(1);
	fclose(f);
}
int main(void) {
	rpmpkgdb db;
	if (rpmpkgOpen(&db, "Packages.db", O_RDWR | O_CREAT, 0644)) return 1;
	put(db, 1);
	put(db, 2);
	put(db, 3);
	if (rpmpkgDel(db, 2)) return 1;
	put(db, 4);
	rpmpkgClose(db);
	return 0;
}
END
for i in 1 2 3; do sqlite3 lite/rpmdb.sqlite "select writefile('blob$i', blob) from Packages where hnum=$i" >/dev/null; done
cp blob2 blob4
gcc -w -include stdlib.h -Istub -I"$RPM_SOURCE/lib/backend/ndb" -o ndb ndb.c "$RPM_SOURCE/lib/backend/ndb/rpmpkg.c"
./ndb
gzip -9n <Packages.db >"$out/ndb.gz"

# A log that nobody has moved into the database yet.
into wal cart.rpm dray.rpm
horse=$(sqlite3 lite/rpmdb.sqlite 'select hex(blob) from Packages where hnum=3')
mkdir log
sqlite3 wal/rpmdb.sqlite >/dev/null <<END
pragma journal_mode=wal;
pragma wal_autocheckpoint=0;
insert into Packages values (3, x'$horse');
.shell cp wal/rpmdb.sqlite wal/rpmdb.sqlite-wal log/
END
tar -C log --sort=name --mtime=@0 --owner=0 --group=0 -c rpmdb.sqlite rpmdb.sqlite-wal | gzip -9n >"$out/wal.gz"

# What rpm wrote to Berkeley DB until 4.16: four-byte keys, and the last one used under key 0.
# ORDER is that of the machine that wrote it, so keys differ in it.
bdb() { # ORDER KEY0 KEY1 KEY2 KEY3 FILE
	{
		printf 'VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\ndb_lorder=%s\nHEADER=END\n' "$1"
		printf ' %s\n %s\n' "$2" "$5"
		i=1
		for key in "$3" "$4" "$5"; do
			printf ' %s\n ' "$key"
			sqlite3 lite/rpmdb.sqlite "select lower(hex(blob)) from Packages where hnum=$i"
			i=$((i + 1))
		done
		echo DATA=END
	} | db5.3_load "$6"
}
bdb 1234 00000000 01000000 02000000 03000000 Packages
bdb 4321 00000000 00000001 00000002 00000003 Packages-big
gzip -9n <Packages >"$out/bdb.gz"
gzip -9n <Packages-big >"$out/bdb-big.gz"

cart=$(sqlite3 lite/rpmdb.sqlite 'select hex(blob) from Packages where hnum=1')
{
	echo 'pragma page_size=512;'
	echo 'create table Name (key text, hnum integer);'
	echo 'create table Packages (hnum integer primary key autoincrement, blob blob not null);'
	echo 'begin;'
	i=100
	while [ $i -lt 300 ]; do # cart becomes c100, c101, ...
		name=$(printf "c$i" | od -An -tx1 | tr -d ' \n')
		echo "insert into Packages values ($((3 * i)), x'$(echo "$cart" | sed "s/6361727400/${name}00/g")');"
		i=$((i + 1))
	done
	echo 'commit;'
} | sqlite3 small.sqlite
gzip -9n <small.sqlite >"$out/small.gz"
ls -l "$out"
