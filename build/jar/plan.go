// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"cmp"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// The kinds of archives.
const (
	kindJar  = "jar"
	kindBoot = "Spring Boot"
	kindWAR  = "WAR"
)

// A plan says what an archive becomes.
type plan struct {
	*archive
	kind       string
	o          Options
	root       string // directory of the image, absolute
	parts      []*part
	entrypoint func(style) []string // nil: that of the base
	java       int                  // that it needs
	server     string               // of a WAR: the environment of Jetty that it is for
	libraries  []*library           // in the order in which they are looked through
	looked     int                  // entries of libraries
	components []build.Component
	notes      []string
	beside     []string // files that are read beside the archive
}

// A part becomes a layer.
type part struct {
	name  string
	files []file
	dir   string // a directory beside the archive, instead of files
	to    string // where that goes
	in    *input.Input
}

// A file of a part is an entry of an archive, the archive itself, or made here.
type file struct {
	path  string // in the image, from its root
	size  int64
	from  *archive  // nil: made
	entry *zip.File // nil: all of from
	data  []byte
	thin  *thinJar
}

// read finds out what there is and makes the plan. Archives stay open for no
// longer than that.
func read(name string, o Options) (*plan, error) {
	a, err := openArchive(name)
	if err != nil {
		return nil, err
	}
	if err := a.acquire(); err != nil {
		return nil, err
	}
	defer a.release()
	p := &plan{archive: a, kind: a.kind(o), o: o}
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.java, err = a.javaOf(); err != nil {
		return nil, err
	}
	switch p.kind {
	case kindWAR:
		p.root = cmp.Or(o.AppRoot, jettyRoot)
		err = p.war()
	case kindBoot:
		p.root = cmp.Or(o.AppRoot, "/app")
		err = p.boot()
	default:
		p.root = cmp.Or(o.AppRoot, "/app")
		err = p.plain()
	}
	if err != nil {
		return nil, err
	}
	for _, l := range p.libraries {
		p.java = max(p.java, l.java)
	}
	p.parts = slices.DeleteFunc(p.parts, func(x *part) bool { return len(x.files) == 0 && x.dir == "" })
	return p, p.describe()
}

// kind tells what an archive is. One of Spring Boot that can be deployed too is
// deployed if there is a place for that.
func (a *archive) kind(o Options) string {
	boot := a.has("BOOT-INF/")
	war := a.has("WEB-INF/") || strings.HasSuffix(strings.ToLower(a.path), ".war")
	if war && a.has("WEB-INF/") && a.get("Spring-Boot-Version") != "" && o.AppRoot == "" {
		boot = true
	}
	switch {
	case boot:
		return kindBoot
	case war:
		return kindWAR
	}
	return kindJar
}

// check refuses options that mean nothing for this kind.
func (p *plan) check() error {
	switch {
	case !slices.Contains([]string{"", Exploded, Packaged, Thin}, p.o.Mode):
		return oci.Errorf(oci.ErrInvalid, "mode %s: there are %s, %s and %s", oci.Quote(p.o.Mode), Exploded, Packaged, Thin)
	case p.o.Mode == Thin && p.kind != kindBoot:
		return oci.Errorf(oci.ErrInvalid, "the mode %s is for archives of Spring Boot, and this is a %s", Thin, p.kind)
	case p.o.MainClass != "" && p.kind == kindWAR:
		return oci.Errorf(oci.ErrInvalid, "a WAR has no main class: the server starts it")
	case p.o.MainClass != "" && p.kind == kindBoot && p.o.Mode != Thin:
		return oci.Errorf(oci.ErrInvalid, "Spring Boot's loader starts what the manifest says: another main class needs the mode %s", Thin)
	case p.o.AppRoot != "" && (!strings.HasPrefix(p.o.AppRoot, "/") || path.Clean(p.o.AppRoot) == "/"):
		return oci.Errorf(oci.ErrInvalid, "application root %s: want an absolute path of a directory below /", oci.Quote(p.o.AppRoot))
	}
	return nil
}

// at is a path of the image below the application's directory.
func (p *plan) at(names ...string) string {
	return path.Join(append([]string{p.root}, names...)...)
}

// put adds files to the part of a name, which is made where it is missing.
func (p *plan) put(part string, files ...file) {
	p.part(part).files = append(p.part(part).files, files...)
}

func (p *plan) part(name string) *part {
	for _, x := range p.parts {
		if x.name == name {
			return x
		}
	}
	x := &part{name: name}
	p.parts = append(p.parts, x)
	return x
}

// entry is a file of the archive, at a path of the image.
func (p *plan) entry(f *zip.File, at string) file {
	return file{path: at, size: int64(f.UncompressedSize64), from: p.archive, entry: f}
}

// whole is the archive itself.
func (a *archive) whole(at string) file { return file{path: at, size: a.size, from: a} }

// isSignature reports whether an entry signs the archive: exploded it would sign
// nothing (JAR File Specification, "Signed JAR File").
func isSignature(name string) bool {
	dir, base := path.Split(strings.ToUpper(name))
	if dir != "META-INF/" {
		return false
	}
	return strings.HasPrefix(base, "SIG-") || slices.Contains([]string{".SF", ".RSA", ".DSA", ".EC"}, path.Ext(base))
}

func isSnapshot(name string) bool { return strings.Contains(path.Base(name), "SNAPSHOT") }

func itoa(n int) string { return strconv.Itoa(n) }

// A style is how the image's system writes paths.
type style struct{ windows bool }

func (s style) path(p string) string {
	if s.windows {
		return `C:` + strings.ReplaceAll(p, "/", `\`)
	}
	return p
}

// list is a class path.
func (s style) list(paths []string) string {
	sep := ":"
	if s.windows {
		sep = ";"
	}
	var all []string
	for _, p := range paths {
		all = append(all, s.path(p))
	}
	return strings.Join(all, sep)
}

// java is a command that starts something with the flags that are wanted.
func (p *plan) command(words ...string) []string {
	return slices.Concat([]string{"java"}, p.o.JVMFlags, words)
}

// startJar starts the archive as it is in the image.
func (p *plan) startJar(at, main string) func(style) []string {
	return func(s style) []string {
		if main != "" {
			return p.command("-cp", s.path(at), main)
		}
		return p.command("-jar", s.path(at))
	}
}

// makeInputs makes inputs of the parts, which all targets share.
func (p *plan) makeInputs(name string, e *build.Engine) error {
	at := e.Options().Time
	for _, x := range p.parts {
		if x.dir != "" {
			mode, err := layer.ParseMode("u+rwX,go+rX,go-w")
			if err != nil {
				return err
			}
			x.in = input.Dir(x.dir, x.to, layer.CreateOptions{Time: at, Mode: mode})
			continue
		}
		x.in = input.Tar(p.path, input.TarOptions{By: "jar " + filepath.Base(name) + ", " + x.name}, x.writer(at))
	}
	return nil
}

// compare says so if the base has a Java that is too old.
func (p *plan) compare(e *build.Engine, s *build.Stack) {
	c, err := s.Config()
	if err != nil {
		return
	}
	for _, line := range c.Config.Env {
		if text, ok := strings.CutPrefix(line, "JAVA_VERSION="); ok {
			if have := versionOf(text); have > 0 && have < p.java {
				e.Note("%s needs Java %d, and the base %s says that it has %d", p.path, p.java, s.Base.Name, have)
			}
		}
	}
}

// versionOf is the number in jdk-17.0.9+9, jdk8u432-b06, 21.0.1 and the like.
func versionOf(text string) int {
	digits := strings.TrimLeft(text, "abcdefghijklmnopqrstuvwxyz-")
	digits = strings.TrimPrefix(digits, "1.")
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(digits)
	}
	n, err := strconv.Atoi(digits[:end])
	if err != nil {
		return 0
	}
	return n
}
