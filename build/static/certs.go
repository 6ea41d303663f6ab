// SPDX-License-Identifier: Apache-2.0

package static

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/dray-tools/dray/oci"
)

// rootsVersion is that of the module which has the certificates. A test compares
// it with go.mod.
const rootsVersion = "v0.0.0-20261030153154-30a33513ff6d"

// bundled are the certificates that Mozilla trusts for servers. Those that it
// trusts only in part (until a date) are left out: a PEM file cannot say that.
func bundled() (all []*x509.Certificate, err error) {
	for r := range bundle.Roots() {
		if r.Constraint != nil {
			continue
		}
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// maxFile bounds a file of certificates.
const maxFile = 16 << 20

// readCertificates reads a PEM file that has certificates and nothing else. Text
// around them is passed over.
func readCertificates(path string) (all []*x509.Certificate, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: more than %d MiB of certificates", path, maxFile>>20)
	}
	begin, line := []byte("-----BEGIN "), 1
	for rest := raw; ; {
		before, _, found := bytes.Cut(rest, begin)
		if !found {
			break
		}
		line += bytes.Count(before, []byte("\n"))
		rest = rest[len(before):]
		block, next := pem.Decode(rest)
		if block == nil || bytes.Count(rest[:len(rest)-len(next)], begin) != 1 { // it passes over what it cannot read
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: broken PEM", path, line)
		}
		if block.Type != "CERTIFICATE" {
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: %s in a file of certificates", path, line, oci.Quote(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: %w", path, line, err)
		}
		all = append(all, c)
		line += bytes.Count(rest[:len(rest)-len(next)], []byte("\n"))
		rest = next
	}
	if len(all) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: no certificate in it (want PEM)", path)
	}
	return all, nil
}

// encode writes certificates as PEM, each once, sorted by name.
func encode(all []*x509.Certificate) []byte {
	type named struct {
		name string
		sum  [32]byte
		raw  []byte
	}
	var list []named
	for _, c := range all {
		list = append(list, named{c.Subject.String(), sha256.Sum256(c.Raw), c.Raw})
	}
	slices.SortFunc(list, func(a, b named) int { return cmp.Or(cmp.Compare(a.name, b.name), bytes.Compare(a.sum[:], b.sum[:])) })
	list = slices.CompactFunc(list, func(a, b named) bool { return a.sum == b.sum })
	var out bytes.Buffer
	for _, n := range list {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: n.raw}) // a buffer takes everything
	}
	return out.Bytes()
}
