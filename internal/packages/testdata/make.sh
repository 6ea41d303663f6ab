#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the databases in this directory anew. Needs Debian's packages rpm,
# sqlite3 and db5.3-util (written by rpm 4.18.0). The times of day in the
# databases differ from run to run; what the tests ask for does not.
#
#   sqlite.gz   three packages, as rpm writes them to rpmdb.sqlite
#   wal.gz      a tar of rpmdb.sqlite and rpmdb.sqlite-wal: the third package is in the log only
#   ndb.gz      the same as sqlite.gz in rpm's own format, Packages.db
#   bdb.gz      the same in a Berkeley DB hash, Packages; bdb-big.gz in the other byte order
#   small.gz    200 headers in a SQLite file with pages of 512 bytes: a deep tree, overflow pages
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

into() { # BACKEND DIR PACKAGES...
	backend=$1 dir=$2
	shift 2
	rpm --define "_db_backend $backend" --dbpath "$tmp/$dir" -i --justdb --nodeps --ignorearch --noscripts "$@"
}
into sqlite lite cart.rpm dray.rpm horse.rpm
into ndb ndb cart.rpm dray.rpm horse.rpm
gzip -9n <lite/rpmdb.sqlite >"$out/sqlite.gz"
gzip -9n <ndb/Packages.db >"$out/ndb.gz"

# A log that nobody has moved into the database yet.
into sqlite wal cart.rpm dray.rpm
horse=$(sqlite3 lite/rpmdb.sqlite 'select hex(blob) from Packages where hnum=3')
mkdir log
sqlite3 wal/rpmdb.sqlite >/dev/null <<END
pragma journal_mode=wal;
pragma wal_autocheckpoint=0;
insert into Packages values (3, x'$horse');
.shell cp wal/rpmdb.sqlite wal/rpmdb.sqlite-wal log/
END
tar -C log --sort=name --mtime=@0 --owner=0 --group=0 -c rpmdb.sqlite rpmdb.sqlite-wal | gzip -9n >"$out/wal.gz"

# What rpm wrote to Berkeley DB before 4.18: four-byte keys, and the last one used under key 0.
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

sqlite3 small.sqlite <<END
pragma page_size=512;
attach 'lite/rpmdb.sqlite' as lite;
create table Name (key text, hnum integer);
create table Packages (hnum integer primary key autoincrement, blob blob not null);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
insert into Packages select 3 * i, case when i % 100 = 0 then (select blob from lite.Packages where hnum = 2)
  else (select blob from lite.Packages where hnum = 1) end from n;
END
gzip -9n <small.sqlite >"$out/small.gz"
ls -l "$out"
