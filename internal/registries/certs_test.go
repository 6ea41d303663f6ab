// SPDX-License-Identifier: Apache-2.0

package registries_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/registries"
	"github.com/dray-tools/dray/oci"
)

// keyPair makes a certificate that signs itself, and its key, as PEM.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// TestTLS talks to a server whose authority and client authority are only in
// the directory.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.StartTLS()
	defer srv.Close()
	host := srv.Listener.Addr().String()
	name := host
	if runtime.GOOS == "windows" {
		name = strings.ReplaceAll(host, ":", "")
	}
	dir := write(t, map[string]string{name + "/ca.crt": cert, name + "/me.cert": cert, name + "/me.key": key, name + "/README": "x"})
	for _, p := range []registries.Paths{
		{CertDirs: []string{filepath.Join(dir, "none"), dir}},
		{CertDir: filepath.Join(dir, name), CertDirs: []string{filepath.Join(dir, "none")}},
	} {
		certs := registries.OpenCerts(p, registries.Options{})
		conf, err := certs.TLS(host)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: conf.Clone()}}).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if again, _ := certs.TLS(host); again != conf {
			t.Error("the directory was read twice")
		}
	}
}

func TestTLSPlaces(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t)
	dir := write(t, map[string]string{
		"user/first.io/x.cert": cert, "user/first.io/x.key": key,
		"sys/first.io/broken.crt": "x", // hidden by the user's
		"sys/second.io/ca.crt":    cert,
		"sys/docker.io/ca.crt":    cert,
		"sys/empty.io/README":     "x",
		"sys/nokey.io/x.cert":     cert,
		"sys/nocert.io/x.key":     key,
		"sys/badca.io/ca.crt":     "-----BEGIN CERTIFICATE-----",
		"sys/badpair.io/x.cert":   cert, "sys/badpair.io/x.key": "x",
		"sys/big.io/ca.crt": strings.Repeat("x", 1<<20+1),
	})
	certs := registries.OpenCerts(registries.Paths{CertDirs: []string{filepath.Join(dir, "user"), filepath.Join(dir, "sys")}}, registries.Options{})
	for _, tt := range []struct {
		host        string
		certs       int
		roots, none bool
		bad         string
	}{
		{host: "first.io", certs: 1},
		{host: "second.io", roots: true},
		{host: "docker.io", roots: true},
		{host: "registry-1.docker.io", roots: true},
		{host: "empty.io", none: true},
		{host: "other.io", none: true},
		{host: "second.io:5000", none: true},
		{host: "nokey.io", bad: "x.cert"},
		{host: "nocert.io", bad: "x.key"},
		{host: "badca.io", bad: "ca.crt"},
		{host: "badpair.io", bad: "x.cert"},
		{host: "big.io", bad: "ca.crt"},
	} {
		conf, err := certs.TLS(tt.host)
		switch {
		case tt.bad != "":
			if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: %v, want ErrInvalid that names %s", tt.host, err, tt.bad)
			}
		case err != nil || tt.none != (conf == nil):
			t.Errorf("%s: %v, %v", tt.host, conf, err)
		case conf != nil && (len(conf.Certificates) != tt.certs || tt.roots != (conf.RootCAs != nil)):
			t.Errorf("%s: %d certificates, roots %v", tt.host, len(conf.Certificates), conf.RootCAs != nil)
		}
	}
	gone := registries.OpenCerts(registries.Paths{CertDir: filepath.Join(dir, "gone")}, registries.Options{})
	if _, err := gone.TLS("first.io"); !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("missing --cert-dir: %v, want ErrInvalid", err)
	}
}
