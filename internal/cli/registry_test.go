// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"

	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/mem"
)

// running is a registry in a process of its own.
type running struct {
	cmd    *exec.Cmd
	rest   chan struct{} // closed when its output has ended
	output *lockedBuffer
}

// registry NAME [DIR] [flags of dray serve]: starts dray serve and sets $NAME
// to its address, a free one if none is given.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry NAME [DIR] [flags]")
	}
	name, args := args[0], append([]string{"serve"}, args[1:]...)
	if !strings.Contains(strings.Join(args, " "), "--addr") {
		args = append(args, "--addr", "127.0.0.1:0")
	}
	r := &running{cmd: command(ts, "dray", args...), rest: make(chan struct{}), output: &lockedBuffer{}}
	r.cmd.Stderr = r.output
	out, err := r.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	w := worldOf(ts)
	w.running[name] = r
	ts.Defer(func() {
		if w.running[name] == r {
			_ = r.stop()
		}
	})
	lines := bufio.NewReader(out)
	address, err := lines.ReadString('\n')
	go func() {
		_, _ = io.Copy(r.output, lines)
		close(r.rest)
	}()
	if err != nil {
		ts.Fatalf("registry %s did not start: %v\n%s", name, r.stop(), r.output.b.String())
	}
	w.name(ts, name, strings.TrimSpace(address))
}

// name makes an address known to the script and to the documentation.
func (w *world) name(ts *testscript.TestScript, name, address string) {
	ts.Setenv(name, address)
	ts.Check(appendTo(ts.Getenv(transcriptEnv)+".names", fmt.Appendf(nil, "%s %s\n", name, address)))
}

func (r *running) stop() error {
	if runtime.GOOS == "windows" {
		_ = r.cmd.Process.Kill()
		<-r.rest
		_ = r.cmd.Wait()
		return nil
	}
	err := r.cmd.Process.Signal(os.Interrupt)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-r.rest
	return errors.Join(err, r.cmd.Wait())
}

// halt NAME: interrupts a registry, which must end with exit code 0; what it
// wrote to stderr is in stderr then.
func stopRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: halt NAME")
	}
	w := worldOf(ts)
	r := w.running[args[0]]
	delete(w.running, args[0])
	ts.Check(r.stop())
	_, err := io.WriteString(ts.Stderr(), r.output.b.String())
	ts.Check(err)
}

// odd NAME KIND: starts a registry, or what is none, that behaves in a way.
func startOdd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: odd NAME KIND")
	}
	w := worldOf(ts)
	store := func(o serve.Options) http.Handler { return serve.New(mem.New(), o) }
	status := func(code int, body string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			rw.Header().Set("Retry-After", "7200")
			rw.WriteHeader(code)
			_, _ = io.WriteString(rw, body)
		})
	}
	var h http.Handler
	switch kind := args[1]; kind {
	case "web-page":
		h = status(http.StatusOK, "<!DOCTYPE html><title>Welcome</title>")
	case "denied":
		h = status(http.StatusForbidden, "")
	case "busy":
		h = status(http.StatusTooManyRequests, "")
	case "escapes":
		h = status(http.StatusBadRequest, "\x1b[2Jyour screen is mine\u202e")
	case "no-tag-delete":
		h = store(serve.Options{Quirks: serve.Quirks{NoTagDelete: true}})
	case "no-referrers":
		h = store(serve.Options{Quirks: serve.Quirks{NoReferrersAPI: true}})
	case "tokens":
		h = store(serve.Options{Quirks: serve.Quirks{Bearer: &serve.Bearer{User: "ann", Password: "secret"}}})
	case "corrupt":
		h = corrupt(store(serve.Options{}))
	case "hang":
		var hung <-chan struct{}
		h, hung = hang(store(serve.Options{}))
		w.hangs[args[0]] = hung
	default:
		ts.Fatalf("odd: no kind %s", kind)
	}
	s := httptest.NewServer(h)
	ts.Defer(func() { s.CloseClientConnections(); s.Close() })
	w.name(ts, args[0], strings.TrimPrefix(s.URL, "http://"))
}

// corrupt turns around a bit of every blob that goes out.
func corrupt(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/sha256:") {
			h.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		if b := rec.Body.Bytes(); len(b) > 0 {
			b[len(b)/2] ^= 1
			_, _ = w.Write(b)
		}
	})
}

// hang never answers when a blob is asked for.
func hang(h http.Handler) (http.Handler, <-chan struct{}) {
	hung := make(chan struct{}, 1000)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			hung <- struct{}{}
			<-r.Context().Done()
			return
		}
		h.ServeHTTP(w, r)
	}), hung
}

// htpasswd FILE USER PASSWORD
func mkHtpasswd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: htpasswd FILE USER PASSWORD")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(args[2]), bcrypt.MinCost)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil, "%s:%s\n", args[1], hash), 0o600))
}

// helper NAME: a credential helper of that name that keeps one credential in
// a file beside it, as a program in $WORK/bin, which is in PATH then.
func mkHelper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: helper NAME")
	}
	dir := ts.MkAbs("bin")
	ts.Check(os.MkdirAll(dir, 0o700))
	script := "#!/bin/sh\nf=" + dir + "/kept\ncase $1 in\nstore) cat > $f;;\nerase) cat > /dev/null; rm -f $f;;\n" +
		"get) cat > /dev/null; if [ -f $f ]; then cat $f; else echo credentials not found in native keychain; exit 1; fi;;\nesac\n"
	ts.Check(os.WriteFile(filepath.Join(dir, "docker-credential-"+args[0]), []byte(script), 0o700))
	ts.Setenv("PATH", dir+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}

// certificate DIR: a self-signed certificate for 127.0.0.1: DIR/tls.crt and
// DIR/tls.key, and DIR/trust/ca.crt for those who trust it.
func mkCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate DIR")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Join(dir, "trust"), 0o700))
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, raw := range map[string][]byte{"tls.crt": certPEM, filepath.Join("trust", "ca.crt"): certPEM,
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
}
