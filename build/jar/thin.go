// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"archive/zip"
	"bytes"
	"cmp"
	"hash/crc32"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// thin plans libraries beside a jar of the application, which names them.
func (p *plan) thin(l bootLayout) error {
	main := cmp.Or(p.o.MainClass, p.get("Start-Class"))
	if main == "" {
		return oci.Errorf(oci.ErrInvalid, "the manifest has no Start-Class: say --main-class")
	}
	p.order(partLibraries, partSnapshots)
	var paths []string
	taken := map[string]bool{}
	for _, lib := range p.libraries {
		name := free(taken, path.Base(lib.entry.Name))
		part := partLibraries
		if isSnapshot(name) {
			part = partSnapshots
		}
		lib.at = p.at("lib", name)
		p.put(part, lib.file(lib.at))
		paths = append(paths, (&url.URL{Path: "lib/" + name}).String())
	}
	jar := &thinJar{from: p.archive, manifest: p.thinManifest(main, paths)}
	for _, f := range p.entries {
		switch name, below := strings.CutPrefix(f.Name, l.classes); {
		case below:
			jar.add(f, name)
		case strings.HasPrefix(f.Name, "META-INF/") && f.Name != manifestName && !isSignature(f.Name):
			jar.add(f, f.Name)
		}
	}
	var size counter
	if err := jar.writeAll(&size, func(w io.Writer, f *zip.File) error {
		_, err := io.CopyN(w, zeros{}, int64(f.UncompressedSize64))
		return err
	}); err != nil {
		return err
	}
	at := p.at(filepath.Base(p.path))
	p.put(partApp, file{path: at, size: int64(size), thin: jar})
	p.entrypoint = p.startJar(at, "")
	return nil
}

// thinManifest says what is started and where libraries are; what else java or
// the application itself may ask for stays.
func (p *plan) thinManifest(main string, paths []string) []byte {
	var b bytes.Buffer
	line(&b, "Manifest-Version", "1.0")
	line(&b, "Main-Class", main)
	if len(paths) > 0 {
		line(&b, "Class-Path", strings.Join(paths, " "))
	}
	for _, name := range []string{"Implementation-Title", "Implementation-Version", "Implementation-Vendor", "Multi-Release", "Add-Opens", "Add-Exports", "Enable-Native-Access"} {
		if v := p.get(name); v != "" {
			line(&b, name, v)
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// A thinJar is made of some entries of an archive. It is not compressed, so that
// no version of a compressor changes it, and the layer packs it.
type thinJar struct {
	from     *archive
	manifest []byte
	names    []string
	entries  []*zip.File
	known    map[string]int // places in names
}

// add adds an entry under a name, once: that of the application wins.
func (j *thinJar) add(f *zip.File, name string) {
	n, twice := j.known[name]
	switch {
	case !twice:
		if j.known == nil {
			j.known = map[string]int{}
		}
		j.known[name] = len(j.names)
		j.names, j.entries = append(j.names, name), append(j.entries, f)
	case f.Name != name:
		j.entries[n] = f
	}
}

func (j *thinJar) write(w io.Writer) error {
	return j.writeAll(w, func(w io.Writer, f *zip.File) error {
		return copyEntry(w, &file{entry: f, size: int64(f.UncompressedSize64)})
	})
}

// writeAll writes the jar, with contents that copy gives.
func (j *thinJar) writeAll(w io.Writer, copy func(w io.Writer, f *zip.File) error) error {
	z := zip.NewWriter(w)
	first, err := create(z, manifestName, uint64(len(j.manifest)), crc32.ChecksumIEEE(j.manifest))
	if err == nil {
		_, err = first.Write(j.manifest)
	}
	for n, f := range j.entries {
		if err != nil {
			return err
		}
		var to io.Writer
		if to, err = create(z, j.names[n], f.UncompressedSize64, f.CRC32); err == nil {
			err = copy(to, f)
		}
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// create begins an entry without a time.
func create(z *zip.Writer, name string, size uint64, sum uint32) (io.Writer, error) {
	return z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, CRC32: sum, CompressedSize64: size, UncompressedSize64: size, Flags: 0x800})
}

// A counter counts what is written.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// zeros stand for the content of a file whose size alone matters.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
