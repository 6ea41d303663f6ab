// SPDX-License-Identifier: Apache-2.0

// Package packages reads what package managers say is installed in a file
// system. It knows the databases of dpkg, of apk and, in its three formats, of
// rpm, and needs none of these tools.
//
// All of it is hostile input: memory and time grow no faster than the files,
// no database can lead round in circles, and what comes out is safe to print.
package packages

import (
	"cmp"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dray-tools/dray/oci"
)

// Limits for what comes from outside, far above what images have.
const (
	MaxFile  = 256 << 20 // bytes of one file
	maxCount = 1 << 18   // packages in all
	maxWord  = 1 << 8    // bytes of a name, a version or an architecture
	maxFault = 16        // broken databases that are named one by one
)

// A Package is one that a manager says is installed. Its texts are graphic
// characters without spaces.
type Package struct {
	Manager string `json:"manager"` // dpkg, apk or rpm
	Name    string `json:"name"`
	Version string `json:"version"`        // as the manager writes it; for rpm [epoch:]version-release
	Arch    string `json:"arch,omitempty"` // as the manager writes it
}

// found takes what a parser found. A parser stops at the first error.
type found func(Package) error

// places maps every path that Read knows to what reads it.
var places = map[string]func(data []byte, add found) error{
	"var/lib/dpkg/status":        dpkgStatus,
	"var/lib/dpkg/status.d/":     dpkgStatusD,
	"lib/apk/db/installed":       apk,
	"usr/lib/apk/db/installed":   apk,
	"var/lib/rpm/Packages":       rpm,
	"var/lib/rpm/Packages.db":    rpm,
	"var/lib/rpm/rpmdb.sqlite":   rpm,
	rpmSysimage + "Packages":     rpm,
	rpmSysimage + "Packages.db":  rpm,
	rpmSysimage + "rpmdb.sqlite": rpm,
}

const (
	rpmSysimage = "usr/lib/sysimage/rpm/"
	walSuffix   = "-wal" // of the log beside a SQLite database
)

// Files are the paths that Read wants to see, with slashes and without one at
// the beginning. One that ends in a slash means every file right in that
// directory.
func Files() []string {
	var all []string
	for name := range places {
		all = append(all, name)
		if strings.HasSuffix(name, ".sqlite") {
			all = append(all, name+walSuffix)
		}
	}
	slices.Sort(all)
	return all
}

// Read parses the databases among names: the paths of Files that exist, with
// the files of its directories one by one; other paths are passed over. open
// returns the whole content of one of them, or an error of kind ErrNotFound,
// which is the same as not naming it.
//
// The result is sorted by manager, name, version and architecture, without
// doubles. A database that is broken, larger than MaxFile or refused by open
// with ErrInvalid gives nothing but an ErrInvalid that names it; what the
// others say is returned beside the error. Every other error of open ends Read
// with that error alone.
func Read(names []string, open func(name string) ([]byte, error)) ([]Package, error) {
	r := reader{open: open, names: map[string]bool{}}
	for _, name := range names {
		r.names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.names)) {
		parse := parser(name)
		if parse == nil {
			continue
		}
		before := len(r.all)
		if err := r.read(name, parse); errors.Is(err, oci.ErrInvalid) {
			r.all = r.all[:before]
			r.fault(name, err)
		} else if err != nil {
			return nil, oci.Wrap("", place(name), err)
		}
	}
	slices.SortFunc(r.all, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Manager, b.Manager), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
	return slices.Compact(r.all), r.err()
}

// parser is what reads that file; nil if nobody does.
func parser(name string) func([]byte, found) error {
	dir, file := path.Split(name)
	if parse := places[dir]; parse != nil && file != "" && !strings.HasSuffix(file, ".md5sums") {
		return parse
	}
	if file == "" {
		return nil
	}
	return places[name]
}

// place is a file's name as an error may print it.
func place(name string) string {
	if !printable(name) {
		return oci.Quote(name)
	}
	return name
}

type reader struct {
	open   func(string) ([]byte, error)
	names  map[string]bool
	all    []Package
	faults []error
	more   int // faults that are not among them
}

func (r *reader) read(name string, parse func([]byte, found) error) error {
	data, err := r.load(name)
	if err != nil {
		return err
	}
	if log := name + walSuffix; strings.HasSuffix(name, ".sqlite") && r.names[log] {
		wal, err := r.load(log)
		if err != nil {
			return err
		}
		if len(wal) > 0 {
			return sqlite(data, wal, r.add)
		}
	}
	if len(data) == 0 {
		return nil // made, and never written to
	}
	return parse(data, r.add)
}

// load opens a file; one that is not there is empty.
func (r *reader) load(name string) ([]byte, error) {
	data, err := r.open(name)
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return nil, nil
	case len(data) > MaxFile:
		return nil, broken("has %d bytes, more than %d", len(data), MaxFile)
	}
	return data, err
}

// add checks what a parser found.
func (r *reader) add(p Package) error {
	if len(r.all) == maxCount {
		return broken("more than %d packages", maxCount)
	}
	for _, s := range []string{p.Name, p.Version, p.Arch} {
		if len(s) > maxWord || !printable(s) {
			return broken("package %s, version %s, architecture %s: not words", oci.Quote(p.Name), oci.Quote(p.Version), oci.Quote(p.Arch))
		}
	}
	if p.Name == "" || p.Version == "" {
		return broken("package %s, version %s: one of them is missing", oci.Quote(p.Name), oci.Quote(p.Version))
	}
	r.all = append(r.all, p)
	return nil
}

// printable says whether s has only graphic characters and no spaces.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) || unicode.IsSpace(c) })
}

func broken(format string, args ...any) error { return oci.Errorf(oci.ErrInvalid, format, args...) }

// fault notes a broken database.
func (r *reader) fault(name string, err error) {
	if len(r.faults) == maxFault {
		r.more++
		return
	}
	r.faults = append(r.faults, oci.Wrap("", place(name), err))
}

func (r *reader) err() error {
	if r.more > 0 {
		r.faults = append(r.faults, broken("%d more databases are broken", r.more))
	}
	return errors.Join(r.faults...)
}
