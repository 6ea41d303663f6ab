// SPDX-License-Identifier: Apache-2.0

// Package static makes a base without programs: certificates, time zones, a user.
//
// [Base.Put] puts it on a stack from scratch as one layer: the same bytes on
// every machine, for any platform of Linux and its like.
package static

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	_ "embed"
	"io"
	"strings"
	"sync"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/oci"
)

// Options say what the base has beside what it always has.
type Options struct {
	Certificates []string // PEM files with certificates that are trusted too
}

// A Base is what all stacks get, as one layer. It is safe for concurrent use.
type Base struct {
	more []*x509.Certificate // of the user
	make func() (*content, error)
}

// content is what a base has. It is made when it is needed first: most builds
// have another base.
type content struct {
	certs []byte
	layer *input.Input // shared, so that it is packed once
}

// NonRoot is the user that programs run as, who has a home and nothing else.
const NonRoot = 65532

// version is that of what the base has beside certificates and time zones, which
// have versions of their own.
const version = "1"

// CertFile is where the certificates are.
const CertFile = "/etc/ssl/certs/ca-certificates.crt"

// New makes a base. ErrInvalid if a file has something else than certificates.
func New(o Options) (*Base, error) {
	b := &Base{}
	for _, path := range o.Certificates {
		more, err := readCertificates(path)
		if err != nil {
			return nil, err
		}
		b.more = append(b.more, more...)
	}
	b.make = sync.OnceValues(b.content)
	return b, nil
}

func (b *Base) content() (*content, error) {
	certs, err := bundled()
	if err != nil {
		return nil, err
	}
	c := &content{certs: encode(append(certs, b.more...))}
	// What the key does not tell must not change the layer.
	key := strings.Join([]string{"static " + version, string(oci.FromBytes(c.certs)), string(oci.FromBytes(zones)), filesKey()}, "\n")
	c.layer = input.Made(build.Static, key, c.write)
	return c, nil
}

// Put puts the base on a stack that has nothing yet, and sets user, working
// directory, PATH and SSL_CERT_FILE.
func (b *Base) Put(ctx context.Context, s *build.Stack) error {
	c, err := b.make()
	if err != nil {
		return err
	}
	if _, err := s.Add(ctx, c.layer, build.AddOptions{Link: true}); err != nil {
		return err
	}
	s.Components = append(s.Components, c.components()...)
	return s.Apply(
		edit.SetEnv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		edit.SetEnv("SSL_CERT_FILE", CertFile),
		edit.SetUser("65532:65532"),
		edit.SetWorkdir("/home/nonroot"),
	)
}

// components are what a bill of materials says of the base: not each of its files.
func (c *content) components() []build.Component {
	v := strings.TrimSpace(zonesVersion)
	parts := []build.Component{
		{Kind: "file", Name: "ca-certificates", Version: rootsVersion, PURL: "pkg:golang/golang.org/x/crypto/x509roots/fallback@" + rootsVersion,
			License: "MPL-2.0", Path: CertFile, Hashes: map[string]string{"sha256": oci.FromBytes(c.certs).Encoded()}},
		{Kind: "file", Name: "tzdata", Version: v, PURL: "pkg:generic/tzdata@" + v, Path: "/usr/share/zoneinfo"},
	}
	return append(parts, build.Component{Kind: "framework", Name: build.Static, Version: version, Path: "/", Needs: []string{parts[0].PURL, parts[1].PURL}})
}

//go:embed zoneinfo.zip
var zones []byte

//go:embed zoneinfo.version
var zonesVersion string

// An entry is a file, or a directory if its name ends with a slash.
type entry struct {
	name string
	mode int64
	id   int // of user and group
	text string
}

// before and after are the entries around those that are data. Parents come first.
var before = []entry{
	{name: "etc/", mode: 0o755},
	{name: "etc/group", mode: 0o644, text: "root:x:0:\nnonroot:x:65532:\n"},
	{name: "etc/nsswitch.conf", mode: 0o644, text: "hosts: files dns\n"},
	{name: "etc/os-release", mode: 0o644, text: "NAME=\"dray static\"\nID=dray-static\nPRETTY_NAME=\"dray scratch+certs\"\nHOME_URL=\"https://github.com/dray-tools/dray\"\n"},
	{name: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"},
	{name: "etc/ssl/", mode: 0o755},
	{name: "etc/ssl/certs/", mode: 0o755},
}

var after = []entry{
	{name: "home/", mode: 0o755},
	{name: "home/nonroot/", mode: 0o700, id: NonRoot},
	{name: "root/", mode: 0o700},
	{name: "tmp/", mode: 0o1777},
	{name: "usr/", mode: 0o755},
	{name: "usr/share/", mode: 0o755},
	{name: "usr/share/zoneinfo/", mode: 0o755},
}

// filesKey tells entries of one version of dray from those of another.
func filesKey() string {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, e := range append(before[:len(before):len(before)], after...) {
		if put(t, e) != nil {
			return ""
		}
	}
	return string(oci.FromBytes(b.Bytes()))
}

// write writes the layer.
func (c *content) write(_ context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	all := append(before[:len(before):len(before)], entry{name: CertFile[1:], mode: 0o644, text: string(c.certs)})
	for _, e := range append(all, after...) {
		if err := put(t, e); err != nil {
			return err
		}
	}
	if err := putZones(t); err != nil {
		return err
	}
	return t.Close()
}

func put(t *tar.Writer, e entry) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Uid: e.id, Gid: e.id, Size: int64(len(e.text)), Format: tar.FormatUSTAR}
	if strings.HasSuffix(e.name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.WriteString(t, e.text)
	return err
}

// putZones unpacks the time zones, which the archive has sorted.
func putZones(t *tar.Writer) error {
	z, err := zip.NewReader(bytes.NewReader(zones), int64(len(zones)))
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for _, f := range z.File {
		name := "usr/share/zoneinfo/" + f.Name
		for n, c := range name {
			if dir := name[:n+1]; c == '/' && n >= len("usr/share/zoneinfo/") && !made[dir] {
				made[dir] = true
				if err := put(t, entry{name: dir, mode: 0o755}); err != nil {
					return err
				}
			}
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := put(t, entry{name: name, mode: 0o644, text: string(text)}); err != nil {
			return err
		}
	}
	return nil
}
