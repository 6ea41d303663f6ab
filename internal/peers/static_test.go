// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A program on the base scratch+certs trusts the certificates that were added,
// knows time zones, and is a user who may write at home and nowhere else.
func TestStaticBase(t *testing.T) {
	t.Parallel()
	docker := newDockerEngine(t)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it
	web.StartTLS()
	defer web.Close()
	dir := t.TempDir()
	ca, program := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "program")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "./testdata/static")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(tag string, flags ...string) string {
		t.Helper()
		args := append([]string{"build", "files", program + ":/program", "--from", "scratch+certs", "--platform", "linux/" + runtime.GOARCH,
			"--entrypoint", "/program", "-t", "docker-daemon:static:" + tag}, flags...)
		if _, errOut, err := docker.dray("unix://"+docker.sock, args...); err != nil {
			t.Fatalf("%v: %s", err, errOut)
		}
		return docker.run("run", "--rm", "--network=host", "static:"+tag, web.URL)
	}
	want := `answer 200
noon 12:00 CEST
ids 65532 65532
user nonroot /home/nonroot
in /home/nonroot
write file true
write /tmp/file true
write /root/file false
write /etc/file false`
	if got := run("1", "--ca-certs", ca); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := run("2"); !strings.Contains(got, "certificate") || strings.Contains(got, "answer") {
		t.Errorf("without the certificate: %s", got)
	}
}
