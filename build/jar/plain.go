// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"cmp"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// Names of parts.
const (
	partLibraries = "dependencies"
	partSnapshots = "snapshot dependencies"
	partProject   = "project dependencies"
	partLoader    = "loader"
	partResources = "resources"
	partClasses   = "classes"
	partApp       = "application"
)

// plain plans a jar with the libraries that its Class-Path names.
func (p *plan) plain() error {
	main := cmp.Or(p.o.MainClass, p.get("Main-Class"))
	if main == "" {
		var err error
		if main, err = p.findMain(); err != nil {
			return err
		}
	}
	beside, err := p.classPath()
	if err != nil {
		return err
	}
	mode, err := p.plainMode()
	if err != nil {
		return err
	}
	if mode == Packaged {
		return p.packaged(beside, main)
	}
	var behind []string
	taken := map[string]bool{}
	for _, b := range beside {
		if b.around {
			behind = append(behind, p.root)
			continue
		}
		name := free(taken, path.Base(b.url))
		switch {
		case b.lib != nil:
			at := p.at("libs", name)
			p.putLibrary(b.lib, at)
			behind = append(behind, at)
		case b.there:
			at := p.at("paths", name)
			p.parts = append(p.parts, &part{name: "path " + name, dir: b.file, to: at})
			behind = append(behind, at)
		default:
			behind = append(behind, p.at("paths", name))
		}
	}
	for _, f := range p.entries {
		switch {
		case isSignature(f.Name):
		case strings.HasSuffix(f.Name, ".class"):
			p.put(partClasses, p.entry(f, p.at("classes", f.Name)))
		default:
			p.put(partResources, p.entry(f, p.at("resources", f.Name)))
		}
	}
	var first []string
	for _, name := range []string{partResources, partClasses} {
		if len(p.part(name).files) > 0 {
			first = append(first, p.at(name))
		}
	}
	p.entrypoint = func(s style) []string { return p.command("-cp", s.list(append(first, behind...)), main) }
	p.order(partLibraries, partSnapshots, partProject)
	return nil
}

// order brings parts to the front, the first one lowest.
func (p *plan) order(names ...string) {
	var front, rest []*part
	for _, name := range names {
		front = append(front, p.part(name))
	}
	for _, x := range p.parts {
		known := false
		for _, f := range front {
			known = known || f == x
		}
		if !known {
			rest = append(rest, x)
		}
	}
	p.parts = append(front, rest...)
}

// plainMode is the mode that is wanted, or Packaged for what only works as one
// file; ErrInvalid if that is not wanted.
func (p *plan) plainMode() (string, error) {
	if p.o.Mode == Packaged {
		return Packaged, nil
	}
	why := ""
	if strings.EqualFold(p.get("Multi-Release"), "true") && p.has("META-INF/versions/") {
		why = "it has classes for several versions of Java (Multi-Release), of which java chooses in a jar only"
	}
	if p.get("Launcher-Agent-Class") != "" {
		why = "its manifest names a Launcher-Agent-Class, which only java -jar starts"
	}
	for _, name := range []string{"Add-Opens", "Add-Exports", "Enable-Native-Access"} {
		if p.get(name) != "" && why == "" {
			if p.o.Mode == Exploded {
				p.notes = append(p.notes, "the "+name+" of its manifest counts for java -jar only: say it with --jvm-flags")
				continue
			}
			why = "the " + name + " of its manifest counts for java -jar only"
		}
	}
	switch {
	case why == "":
		return Exploded, nil
	case p.o.Mode == Exploded:
		return "", oci.Errorf(oci.ErrInvalid, "it cannot be exploded: %s", why)
	}
	p.notes = append(p.notes, "packaged as one file, for "+why)
	return Packaged, nil
}

// packaged keeps the jar in one piece, with what its Class-Path names where it
// looks for that. Directories above the jar's become ones above it.
func (p *plan) packaged(beside []*neighbour, main string) error {
	depth := 0
	for _, b := range beside {
		depth = max(depth, strings.Count(path.Clean(b.url)+"/", "../"))
	}
	dir := p.at(strings.Split(strings.Repeat("jar/", depth), "/")...)
	jar := path.Join(dir, filepath.Base(p.path))
	for _, b := range beside {
		switch at := path.Join(dir, b.url); {
		case at == jar:
		case b.lib != nil:
			p.putLibrary(b.lib, at)
		case b.there:
			p.parts = append(p.parts, &part{name: "path " + path.Base(b.url), dir: b.file, to: at})
		}
	}
	p.order(partLibraries, partSnapshots, partProject)
	p.put(partApp, p.whole(jar))
	if p.o.MainClass == "" && p.get("Main-Class") != "" {
		main = ""
	}
	p.entrypoint = p.startJar(jar, main)
	return nil
}

// putLibrary puts a library into the part that it belongs to: those that change
// together are together.
func (p *plan) putLibrary(l *library, at string) {
	name := partLibraries
	switch {
	case l.ofProject(p.own()):
		name = partProject
	case isSnapshot(at):
		name = partSnapshots
	}
	l.at = at
	p.put(name, l.file(at))
	p.libraries = append(p.libraries, l)
}

// A neighbour is what a jar's Class-Path names.
type neighbour struct {
	url    string // clean and decoded, relative to the jar
	file   string // on disk
	there  bool
	around bool     // a directory that the jar itself is in
	lib    *library // nil: a directory
}

// classPath reads what the Class-Path names, in its order, each once (JAR File
// Specification, "Class-Path Attribute").
func (p *plan) classPath() (all []*neighbour, err error) {
	seen := map[string]bool{}
	for _, word := range strings.Fields(p.get("Class-Path")) {
		u, err := url.Parse(word)
		if err != nil || u.Scheme != "" || u.Host != "" || u.RawQuery != "" || strings.HasPrefix(u.Path, "/") || strings.ContainsAny(u.Path, "\\\x00") || u.Path == "" {
			return nil, oci.Errorf(oci.ErrInvalid, "Class-Path names %s: only a path relative to the jar can be put into an image", oci.Quote(word))
		}
		b := &neighbour{url: path.Clean(u.Path)}
		if seen[b.url] {
			continue
		}
		seen[b.url] = true
		b.file = filepath.Join(filepath.Dir(p.path), filepath.FromSlash(b.url))
		if err := p.visit(b, word, strings.HasSuffix(u.Path, "/")); err != nil {
			return nil, err
		}
		if b.there {
			p.beside = append(p.beside, b.file)
		}
		all = append(all, b)
	}
	return all, nil
}

// visit looks what a neighbour is. Of the directory that the jar is in nothing is
// taken, for that is not meant by a path to files of configuration; and none above
// it, for a strange jar could ask for anybody's files.
func (p *plan) visit(b *neighbour, word string, slash bool) error {
	info, err := os.Stat(b.file)
	switch {
	case os.IsNotExist(err) && slash:
		p.notes = append(p.notes, "its Class-Path names the directory "+oci.Quote(word)+", which is not there")
		return nil
	case os.IsNotExist(err):
		return oci.Errorf(oci.ErrNotFound, "Class-Path names %s, and there is no %s", oci.Quote(word), b.file)
	case err != nil:
		return err
	case !info.IsDir():
		b.there = true
		b.lib, err = openLibrary(b.file)
		return err
	case b.url == "." || b.url == ".." || strings.HasSuffix(b.url, "/.."):
		b.around = true
		p.notes = append(p.notes, "its Class-Path names the directory "+oci.Quote(word)+" that it is in, of which nothing is put into the image")
		return nil
	case !p.below(b):
		return oci.Errorf(oci.ErrInvalid, "Class-Path names the directory %s: only one below that of the jar is put into an image", oci.Quote(word))
	}
	b.there = true
	return nil
}

// below reports whether a directory is really below that of the jar.
func (p *plan) below(b *neighbour) bool {
	top, err := filepath.EvalSymlinks(filepath.Dir(p.path))
	if err != nil {
		return false
	}
	dir, err := filepath.EvalSymlinks(b.file)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(top, dir)
	return err == nil && filepath.IsLocal(rel) && rel != "." && !strings.HasPrefix(b.url, "../")
}

// free is a name that is not taken yet: its own, or one with a number.
func free(taken map[string]bool, name string) string {
	ext := path.Ext(name)
	next := name
	for n := 2; taken[next]; n++ {
		next = strings.TrimSuffix(name, ext) + "-" + itoa(n) + ext
	}
	taken[next] = true
	return next
}
