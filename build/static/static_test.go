// SPDX-License-Identifier: Apache-2.0

package static_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/static"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// diffID is the base of this version of dray, on every machine. It changes with
// the certificates and the time zones, and with nothing else.
const diffID = "sha256:d2358ec1631a16879e10bbe1629d51cfa4c8c786b5bcc2cf7deae871754d7d39"

// stack puts a base on a new stack.
func stack(t *testing.T, platform string, o static.Options) *build.Stack {
	t.Helper()
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	b, err := static.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m := input.New(input.Options{TempDir: t.TempDir()})
	t.Cleanup(func() { m.Close() })
	e := build.NewEngine(build.Options{Maker: m, Outlines: &layer.Outlines{}, Static: b.Put})
	s, err := e.Stack(t.Context(), &build.Base{Name: build.Static, Platform: p})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type file struct {
	line, text string
}

// list reads the layer of a base.
func list(t *testing.T, s *build.Stack) map[string]file {
	t.Helper()
	r, err := s.Blobs()[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]file{}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if dir := filepath.Dir(strings.TrimSuffix(h.Name, "/")); dir != "." && out[dir+"/"].line == "" {
			t.Errorf("%s comes before its directory", h.Name)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uname != "" || len(h.PAXRecords) > 0 || out[h.Name].line != "" {
			t.Errorf("entry %+v", h)
		}
		out[h.Name] = file{fmt.Sprintf("%c %o %d:%d", h.Typeflag, h.Mode, h.Uid, h.Gid), string(text)}
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"linux/amd64", "linux/arm64", "linux/riscv64"} {
		s := stack(t, platform, static.Options{})
		if got := s.Layers()[0].DiffID; got != diffID {
			t.Errorf("%s: layer %s, want %s", platform, got, diffID)
		}
		c, err := s.Config()
		if err != nil {
			t.Fatal(err)
		}
		if c.Config.User != "65532:65532" || c.Config.WorkingDir != "/home/nonroot" || !slices.Equal(c.Config.Env, []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}) {
			t.Errorf("config %+v", c.Config)
		}
		if h := s.History(); len(h) != 1 || h[0].CreatedBy != "dray build scratch+certs: etc, home, root, tmp, usr" {
			t.Errorf("history %+v", h)
		}
	}
}

func TestStaticFiles(t *testing.T) {
	t.Parallel()
	got := list(t, stack(t, "linux/amd64", static.Options{}))
	for name, want := range map[string]string{
		"etc/": "5 755 0:0", "etc/group": "0 644 0:0", "etc/nsswitch.conf": "0 644 0:0", "etc/os-release": "0 644 0:0", "etc/passwd": "0 644 0:0",
		"etc/ssl/": "5 755 0:0", "etc/ssl/certs/": "5 755 0:0", "etc/ssl/certs/ca-certificates.crt": "0 644 0:0",
		"home/": "5 755 0:0", "home/nonroot/": "5 700 65532:65532", "root/": "5 700 0:0", "tmp/": "5 1777 0:0",
		"usr/": "5 755 0:0", "usr/share/": "5 755 0:0", "usr/share/zoneinfo/": "5 755 0:0",
	} {
		if got[name].line != want {
			t.Errorf("%s: %q, want %q", name, got[name].line, want)
		}
		delete(got, name)
	}
	zones := 0
	for name, f := range got {
		zone, ok := strings.CutPrefix(name, "usr/share/zoneinfo/")
		switch {
		case !ok:
			t.Errorf("%s was not expected", name)
		case strings.HasSuffix(name, "/"):
			if f.line != "5 755 0:0" {
				t.Errorf("%s: %s", name, f.line)
			}
		default:
			zones++
			if _, err := time.LoadLocationFromTZData(zone, []byte(f.text)); err != nil || f.line != "0 644 0:0" {
				t.Errorf("%s: %s: %v", name, f.line, err)
			}
		}
	}
	if zones < 500 || got["usr/share/zoneinfo/Europe/Berlin"].text == "" || got["usr/share/zoneinfo/UTC"].text == "" {
		t.Errorf("%d time zones", zones)
	}
}

// certificates are those of a base.
func certificates(t *testing.T, s *build.Stack) (all []*x509.Certificate) {
	t.Helper()
	rest := []byte(list(t, s)["etc/ssl/certs/ca-certificates.crt"].text)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(rest) > 0 {
		t.Errorf("more than certificates: %q", rest)
	}
	return all
}

// authority makes a certificate.
func authority(t *testing.T, name string) *pem.Block {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &pem.Block{Type: "CERTIFICATE", Bytes: raw}
}

func write(t *testing.T, parts ...any) string {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case *pem.Block:
			_ = pem.Encode(&b, p)
		case string:
			b.WriteString(p)
		}
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The user's certificates come to those that are there, each once, in an order
// that does not depend on that of the files.
func TestCertificates(t *testing.T) {
	t.Parallel()
	plain := certificates(t, stack(t, "linux/amd64", static.Options{}))
	if len(plain) < 100 {
		t.Errorf("%d certificates", len(plain))
	}
	for _, c := range plain {
		if strings.Contains(c.Subject.CommonName, "Izenpe") {
			t.Errorf("%s is trusted only until a date", c.Subject)
		}
	}
	if !slices.IsSortedFunc(plain, func(a, b *x509.Certificate) int { return strings.Compare(a.Subject.String(), b.Subject.String()) }) {
		t.Error("certificates are not sorted")
	}
	first, second := authority(t, "Ours"), authority(t, "Zulu")
	known := &pem.Block{Type: "CERTIFICATE", Bytes: plain[3].Raw}
	a, b := write(t, "# ours\n", first, known, "\n\n"), write(t, second, first)
	one, two := stack(t, "linux/amd64", static.Options{Certificates: []string{a, b}}), stack(t, "linux/amd64", static.Options{Certificates: []string{b, a, a}})
	if x, y := one.Layers()[0].DiffID, two.Layers()[0].DiffID; x != y || x == diffID {
		t.Errorf("layers %s and %s", x, y)
	}
	got := certificates(t, one)
	have := func(want []byte) bool {
		return slices.ContainsFunc(got, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, want) })
	}
	if len(got) != len(plain)+2 || !have(first.Bytes) || !have(second.Bytes) {
		t.Errorf("%d certificates, want %d and 2 more", len(got), len(plain))
	}
}

func TestBad_381_CertificateFiles(t *testing.T) {
	t.Parallel()
	good := authority(t, "Ours")
	for _, c := range []struct {
		path, want string
	}{
		{write(t), "no certificate in it"},
		{write(t, "hello\n"), "no certificate in it"},
		{write(t, "# head\n\n", good, &pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), fmt.Sprintf(`:%d: "PRIVATE KEY" in a file of certificates`, 3+bytes.Count(pem.EncodeToMemory(good), []byte("\n")))},
		{write(t, "\n", &pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), ":2: x509"},
		{write(t, "\n-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", good), ":2: broken PEM"},
		{write(t, good, "-----BEGIN CERTIFICATE-----\n"), fmt.Sprintf(":%d: broken PEM", 1+bytes.Count(pem.EncodeToMemory(good), []byte("\n")))},
		{write(t, strings.Repeat("x", 17<<20)), "more than 16 MiB"},
	} {
		_, err := static.New(static.Options{Certificates: []string{write(t, good), c.path}})
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := static.New(static.Options{Certificates: []string{"not-there"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// What the bill of materials says is what is there.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := stack(t, "linux/amd64", static.Options{})
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	certs, zones, base := s.Components[0], s.Components[1], s.Components[2]
	if base.Name != build.Static || base.Version == "" || !slices.Equal(base.Needs, []string{certs.PURL, zones.PURL}) || len(s.Components) != 3 {
		t.Errorf("components: %+v", s.Components)
	}
	if !strings.Contains(string(mod), "golang.org/x/crypto/x509roots/fallback "+certs.Version+" ") && !strings.Contains(string(mod), "golang.org/x/crypto/x509roots/fallback "+certs.Version+"\n") {
		t.Errorf("go.mod has another version of the certificates than %s", certs.Version)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(list(t, s)[certs.Path[1:]].text))); certs.Hashes["sha256"] != sum {
		t.Errorf("certificates: %s, want %s", certs.Hashes["sha256"], sum)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("the go command is not there")
	}
	from := filepath.Join(strings.TrimSpace(string(root)), "lib", "time")
	update, err := os.ReadFile(filepath.Join(from, "update.bash"))
	if err != nil {
		t.Skipf("the Go toolchain has no time zones: %v", err)
	}
	if !strings.Contains(string(update), "\nDATA="+zones.Version+"\n") {
		t.Skipf("the Go toolchain has other time zones than %s: run update.sh", zones.Version)
	}
	want, err := os.ReadFile(filepath.Join(from, "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("zoneinfo.zip"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zoneinfo.zip is not that of %s: %v", zones.Version, err)
	}
}

// Builds that change nothing about it get the same base, and do not make it
// again.
func TestRemembered(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	var packed int
	for range 2 {
		b, err := static.New(static.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := input.New(input.Options{TempDir: t.TempDir(), CacheDir: cache, Progress: func(_ *input.Input, n int) {
			if n == 0 {
				packed++
			}
		}})
		e := build.NewEngine(build.Options{Maker: m, Static: b.Put})
		i, err := edit.New(oci.Platform{OS: "linux", Architecture: "amd64"}, false)
		if err == nil {
			err = b.Put(t.Context(), e.NewStack(i, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	if packed != 1 {
		t.Errorf("packed %d times", packed)
	}
}

// Any file is either certificates or an error that names it.
func FuzzCertificates(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN \xff-----\nMAA=\n-----END \xff-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := static.New(static.Options{Certificates: []string{path}}); err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	})
}
