// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/oci"
)

// A library is an archive that another one needs.
type library struct {
	name        string // of its file
	at          string // in the image
	java        int
	hashes      map[string]string
	coordinates []coordinates // its own first, then of what was put into it

	parent *archive  // that it is in; of one on disk itself
	entry  *zip.File // nil: it is on disk
}

// coordinates name what Maven builds.
type coordinates struct{ group, artifact, version string }

func (c coordinates) purl() string {
	if c.group == "" {
		return ""
	}
	return packageurl.NewPackageURL(packageurl.TypeMaven, c.group, c.artifact, c.version, nil, "").ToString()
}

// openLibrary reads a library on disk.
func openLibrary(file string) (*library, error) {
	a, err := openArchive(file)
	if err != nil {
		return nil, oci.Wrap("", file, err)
	}
	if err := a.acquire(); err != nil {
		return nil, err
	}
	defer a.release()
	l := &library{name: filepath.Base(file), parent: a}
	if l.hashes, err = hashes(io.NewSectionReader(a, 0, a.size)); err == nil {
		err = l.look(a)
	}
	return l, oci.Wrap("", file, err)
}

// nested reads a library that is in the archive. One that cannot be read is put
// into the image all the same, for java may have no need of it.
func (p *plan) nested(f *zip.File) (*library, error) {
	l := &library{name: path.Base(f.Name), parent: p.archive, entry: f}
	rc, err := f.Open()
	if err != nil {
		return nil, oci.Wrap("", oci.Quote(f.Name), broken(err))
	}
	defer rc.Close()
	if l.hashes, err = hashes(io.LimitReader(rc, int64(f.UncompressedSize64))); err != nil {
		return nil, oci.Wrap("", oci.Quote(f.Name), broken(err))
	}
	inner, err := p.inside(f)
	if err == nil {
		if p.looked += len(inner.entries); p.looked > maxLooked {
			return nil, oci.Errorf(oci.ErrInvalid, "its libraries have more than %d entries", maxLooked)
		}
		err = l.look(inner)
	}
	if errors.Is(err, oci.ErrInvalid) || errors.Is(err, oci.ErrUnsupported) {
		p.notes = append(p.notes, oci.Quote(f.Name)+" cannot be looked into: "+err.Error())
		err = nil
	}
	return l, err
}

// file is the library at a path of the image.
func (l *library) file(at string) file {
	if l.entry == nil {
		return l.parent.whole(at)
	}
	return file{path: at, size: int64(l.entry.UncompressedSize64), from: l.parent, entry: l.entry}
}

func hashes(r io.Reader) (map[string]string, error) {
	one, two := sha1.New(), sha256.New()
	if _, err := io.Copy(io.MultiWriter(one, two), r); err != nil {
		return nil, err
	}
	return map[string]string{"sha1": hex.EncodeToString(one.Sum(nil)), "sha256": hex.EncodeToString(two.Sum(nil))}, nil
}

// look reads what a library says of itself.
func (l *library) look(a *archive) (err error) {
	if l.java, err = a.javaOf(); err != nil {
		return err
	}
	l.coordinates, err = a.coordinates(l.name)
	return err
}

// ofProject reports whether a library was built together with the application.
func (l *library) ofProject(app coordinates) bool {
	if app.group == "" || len(l.coordinates) == 0 {
		return false
	}
	c := l.coordinates[0]
	return c.group == app.group && c.version == app.version
}

// own are the coordinates of the application.
func (p *plan) own() coordinates {
	all, err := p.coordinates(filepath.Base(p.path))
	if err != nil || len(all) == 0 {
		return coordinates{}
	}
	return all[0]
}

// maxLooked bounds the entries of all libraries of an archive.
const maxLooked = 2_000_000

// maxCoordinates bounds what is read of an archive that many were put into.
const maxCoordinates = 500

// coordinates are those in an archive: first the one that its file is named
// after. Without any, the name of the file tells what it can.
func (a *archive) coordinates(name string) (all []coordinates, err error) {
	for _, f := range a.entries {
		dir, base := path.Split(f.Name)
		if base != "pom.properties" || !strings.HasPrefix(dir, "META-INF/maven/") || f.UncompressedSize64 > 64<<10 || len(all) >= maxCoordinates {
			continue
		}
		text, err := readAll(f, 64<<10)
		if err != nil {
			return nil, err
		}
		if c := parseProperties(text); c.group != "" && c.artifact != "" {
			all = append(all, c)
		}
	}
	for n, c := range all {
		if name == c.artifact+".jar" || name == c.artifact+".war" || strings.HasPrefix(name, c.artifact+"-"+c.version) {
			all[0], all[n] = all[n], all[0]
			return all, nil
		}
	}
	if len(all) != 1 {
		all = append([]coordinates{fileName(name)}, all...)
	}
	return all, nil
}

// parseProperties reads the lines of pom.properties.
func parseProperties(text []byte) (c coordinates) {
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); key {
		case "groupId":
			c.group = value
		case "artifactId":
			c.artifact = value
		case "version":
			c.version = value
		}
	}
	return c
}

// fileName cuts a name as guava-33.0.0-jre.jar where a version begins.
func fileName(name string) coordinates {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".jar"), ".war")
	for n := 1; n+1 < len(name); n++ {
		if name[n] == '-' && name[n+1] >= '0' && name[n+1] <= '9' {
			return coordinates{artifact: name[:n], version: name[n+1:]}
		}
	}
	return coordinates{artifact: name}
}

// describe lists what the image is made of: the application, its libraries, and
// what was put into those.
func (p *plan) describe() error {
	name := filepath.Base(p.path)
	sums, err := hashes(io.NewSectionReader(p.archive, 0, p.size))
	if err != nil {
		return err
	}
	own := p.own()
	app := build.Component{Kind: "application", Name: own.artifact, Version: own.version, PURL: own.purl(), Hashes: sums}
	if app.Name == "" {
		app.Name = fileName(name).artifact
	}
	if app.Version == "" {
		app.Version = p.get("Implementation-Version")
	}
	var rest []build.Component
	seen := map[string]bool{}
	add := func(one build.Component) {
		key := one.PURL
		if key == "" || one.Path != "" {
			key = one.Path + " " + one.Name + " " + one.Version
		}
		if !seen[key] {
			seen[key] = true
			rest = append(rest, one)
		}
	}
	for _, l := range p.libraries {
		own := fileName(l.name)
		if len(l.coordinates) > 0 {
			own = l.coordinates[0]
		}
		one := build.Component{Kind: "library", Name: own.artifact, Version: own.version, PURL: own.purl(), Path: l.at, Hashes: l.hashes}
		for _, c := range l.coordinates[min(1, len(l.coordinates)):] {
			one.Needs = append(one.Needs, c.purl())
		}
		add(one)
		if app.Needs = append(app.Needs, one.PURL); one.PURL == "" {
			app.Needs[len(app.Needs)-1] = one.Name
		}
		for _, c := range l.coordinates[min(1, len(l.coordinates)):] {
			add(build.Component{Kind: "library", Name: c.artifact, Version: c.version, PURL: c.purl()})
		}
	}
	p.components = append([]build.Component{app}, rest...)
	return nil
}
