// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/dray-tools/dray/oci"
)

// Certs finds the certificates that users keep for registries
// (containers-certs.d(5), Docker's "Verify repository client with
// certificates"). It is safe for concurrent use.
type Certs struct {
	paths Paths
	opts  Options

	mu    sync.Mutex
	hosts map[string]func() (*tls.Config, error)
}

// OpenCerts reads nothing yet.
func OpenCerts(p Paths, o Options) *Certs {
	return &Certs{paths: p, opts: o, hosts: map[string]func() (*tls.Config, error){}}
}

// TLS returns the settings for HOST[:PORT]: the system's roots and every *.crt
// of the host's directory, and a client certificate for every X.cert with its
// X.key. nil if there is no such directory or nothing in it. The result is
// read once a host and must not be changed. ErrInvalid, naming the file, if
// one is broken or lacks its partner, or if host is not a host.
func (c *Certs) TLS(host string) (*tls.Config, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	c.mu.Lock()
	load, ok := c.hosts[host]
	if !ok {
		load = sync.OnceValues(func() (*tls.Config, error) { return c.load(host) })
		c.hosts[host] = load
	}
	c.mu.Unlock()
	return load()
}

func (c *Certs) load(host string) (*tls.Config, error) {
	if dir := c.paths.CertDir; dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, oci.Errorf(oci.ErrInvalid, "certificates: %w", err)
		}
		return readCerts(dir, entries)
	}
	if h := strings.ToLower(host); h == "index.docker.io" || h == "registry-1.docker.io" {
		host = "docker.io"
	}
	if runtime.GOOS == "windows" { // as Docker does, where a colon cannot be in a name
		host = strings.ReplaceAll(host, ":", "")
	}
	for _, dir := range c.paths.CertDirs {
		dir = filepath.Join(dir, host)
		entries, err := os.ReadDir(dir)
		switch {
		case err == nil:
			return readCerts(dir, entries)
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission):
			c.opts.warn("certificates in " + dir + " are ignored: permission denied")
		default:
			return nil, oci.Errorf(oci.ErrInvalid, "certificates: %w", err)
		}
	}
	return nil, nil
}

// readCerts reads one directory.
func readCerts(dir string, entries []os.DirEntry) (*tls.Config, error) {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, name := range names {
		base, ext := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name)
		path := filepath.Join(dir, name)
		switch ext {
		case ".crt":
			if err := addRoot(conf, path); err != nil {
				return nil, err
			}
		case ".cert":
			if !slices.Contains(names, base+".key") {
				return nil, oci.Errorf(oci.ErrInvalid, "%s has no %s beside it; authorities end in .crt", path, base+".key")
			}
			if err := addClient(conf, path, filepath.Join(dir, base+".key")); err != nil {
				return nil, err
			}
		case ".key":
			if !slices.Contains(names, base+".cert") {
				return nil, oci.Errorf(oci.ErrInvalid, "%s has no %s beside it", path, base+".cert")
			}
		}
	}
	if conf.RootCAs == nil && conf.Certificates == nil {
		return nil, nil
	}
	return conf, nil
}

func addRoot(conf *tls.Config, path string) error {
	raw, err := readFile(path)
	if err != nil {
		return err
	}
	if conf.RootCAs == nil {
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool() // a system without roots has only the user's
		}
	}
	if !conf.RootCAs.AppendCertsFromPEM(raw) {
		return oci.Errorf(oci.ErrInvalid, "%s has no certificate in PEM form", path)
	}
	return nil
}

func addClient(conf *tls.Config, cert, key string) error {
	certPEM, err := readFile(cert)
	if err != nil {
		return err
	}
	keyPEM, err := readFile(key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "%s and %s: %w", cert, filepath.Base(key), err)
	}
	conf.Certificates = append(conf.Certificates, pair)
	return nil
}
