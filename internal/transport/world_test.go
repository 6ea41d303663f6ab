// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dray-tools/dray/internal/transport"
)

// A world is a network in memory, under a clock of its own: hosts by
// "name:port", TLS on 443. It records every request that reaches any of them.
type world struct {
	t   *testing.T
	ctx context.Context
	o   transport.Options
	c   *transport.Client
	out lockedBuffer // the log, at debug level

	mu    sync.Mutex
	sites map[string]*site
	seen  []seen
	dials []string

	cleanup []func()
}

// seen is one request as it arrived.
type seen struct {
	At     time.Time
	Host   string // name:port that was dialled
	Method string
	URI    string
	Auth   string
	Header http.Header
	Body   string
}

func (s seen) String() string { return s.Method + " " + s.Host + s.URI }

type site struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (s *site) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}
func (s *site) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *site) Addr() net.Addr { return &net.TCPAddr{} }

// play runs a test in a world. Options may be changed before the first request.
func play(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{t: t, ctx: ctx, sites: map[string]*site{}}
		w.o.TLS = func(string) (*tls.Config, error) { return &tls.Config{RootCAs: authority().pool}, nil }
		w.o.Log = slog.New(slog.NewTextHandler(&w.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		defer func() {
			cancel()
			if w.c != nil {
				w.c.Close()
			}
			for _, f := range w.cleanup {
				f()
			}
			time.Sleep(3 * time.Second) // time ends with the test, and what is under way must end before
		}()
		f(w)
	})
}

// client makes the client, once.
func (w *world) client() *transport.Client {
	if w.c == nil {
		w.c = transport.New(w.o)
		w.c.SetDial(w.dial)
	}
	return w.c
}

func (w *world) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, addr)
	s := w.sites[addr]
	w.mu.Unlock()
	if s == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := pipe()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.done:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listen opens an address; accept is called for each connection.
func (w *world) listen(addr string) *site {
	s := &site{conns: make(chan net.Conn), done: make(chan struct{})}
	w.mu.Lock()
	w.sites[addr] = s
	w.mu.Unlock()
	w.cleanup = append(w.cleanup, func() { _ = s.Close() })
	return s
}

// serve answers at name:port, with TLS if the port is 443 or 8443.
func (w *world) serve(addr string, h http.HandlerFunc, cert ...tls.Certificate) {
	s := w.listen(addr)
	srv := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			var body []byte
			if r.ContentLength < 1<<20 && r.Header.Get("X-Endless") == "" {
				body, _ = io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			w.mu.Lock()
			w.seen = append(w.seen, seen{time.Now(), addr, r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Clone(), string(body)})
			w.mu.Unlock()
			h(rw, r)
		}),
	}
	w.cleanup = append(w.cleanup, func() { _ = srv.Close() })
	name, port, _ := net.SplitHostPort(addr)
	if port != "443" && port != "8443" {
		go func() { _ = srv.Serve(s) }()
		return
	}
	if cert == nil {
		cert = append(cert, authority().issue(name, time.Unix(0, 0), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))
	}
	srv.TLSConfig = &tls.Config{Certificates: cert}
	go func() { _ = srv.ServeTLS(s, "", "") }()
}

// do sends a request and reads the body of the answer.
func (w *world) do(r *transport.Request) (*http.Response, string, error) {
	w.t.Helper()
	resp, err := w.client().Do(w.ctx, r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// get reads a path of a host with pull scope for the repository a/b.
func (w *world) get(host, path string) (string, error) {
	w.t.Helper()
	_, body, err := w.do(pull(host, path, "a/b"))
	return body, err
}

func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.seen {
		out = append(out, s.String())
	}
	return out
}

// to lists what reached hosts that begin so.
func (w *world) to(prefix string) []seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []seen
	for _, s := range w.seen {
		if strings.HasPrefix(s.Host, prefix) {
			out = append(out, s)
		}
	}
	return out
}

func pull(host, path, repository string) *transport.Request {
	return &transport.Request{
		Endpoint: transport.Endpoint{Host: host}, Method: http.MethodGet, Path: path,
		Scopes: []transport.Scope{{Repository: repository, Actions: "pull"}},
	}
}

func text(s string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A tokenServer gives tokens "T:SCOPES#N" and checks them.
type tokenServer struct {
	realm  string
	life   int
	grants func(scope string) bool // nil: all

	mu    sync.Mutex
	n     int
	valid map[string]bool
}

// ServeHTTP is the token service.
func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	var given []string
	_ = r.ParseForm()
	for _, scope := range strings.Fields(strings.Join(r.Form["scope"], " ")) {
		if s.grants == nil || s.grants(scope) {
			given = append(given, scope)
		}
	}
	t := fmt.Sprintf("T:%s#%d", strings.Join(given, ";"), s.n)
	if s.valid == nil {
		s.valid = map[string]bool{}
	}
	s.valid[t] = true
	_ = json.NewEncoder(w).Encode(map[string]any{"token": t, "expires_in": s.life})
}

// revoke makes all tokens useless.
func (s *tokenServer) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = nil
}

// allows answers 401 unless the request has a token with the scope.
func (s *tokenServer) allows(w http.ResponseWriter, r *http.Request, repository, action string) bool {
	t := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	valid := s.valid[t]
	s.mu.Unlock()
	scopes, _, _ := strings.Cut(strings.TrimPrefix(t, "T:"), "#")
	for _, scope := range strings.Split(scopes, ";") {
		actions, ok := strings.CutPrefix(scope, "repository:"+repository+":")
		if valid && ok && strings.Contains(","+actions+",", ","+action+",") {
			return true
		}
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="svc",scope="repository:%s:%s"`, s.realm, repository, action))
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// guard is a registry: the repository is the first two path elements.
func (s *tokenServer) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v2/"), "/", 3)
		action := "push"
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			action = "pull"
		}
		if len(parts) < 3 || s.allows(w, r, parts[0]+"/"+parts[1], action) {
			next(w, r)
		}
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

// ca signs the certificates of the world.
type ca struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

var authority = sync.OnceValue(func() *ca {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(err)
	cert, err := x509.ParseCertificate(der)
	must(err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &ca{key, cert, pool}
})

func (a *ca) issue(name string, from, to time.Time) tls.Certificate {
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.DNSNames, tmpl.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &a.key.PublicKey, a.key)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
