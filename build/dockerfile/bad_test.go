// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
	"github.com/dray-tools/dray/oci"
)

// What is wrong in a Dockerfile is one line, with file and line; no layer of a
// base is read for those that Targets finds.
func TestBad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		want string
		late bool // it is found when files are looked at
	}{
		"nothing":                {"", "Dockerfile: ", false},
		"only a comment":         {"# nothing\n", "Dockerfile:1: ", false},
		"no FROM":                {"COPY a /\n", "Dockerfile:1: ", false},
		"unknown instruction":    {"FROM base\nCOPPY a /\n", "Dockerfile:2: ", false},
		"unknown flag":           {"FROM base\nCOPY --nope a /\n", "Dockerfile:2: ", false},
		"no such base":           {"# one\nFROM none", "Dockerfile:2: base none", false},
		"no such base, later":    {"FROM base\nCOPY a /\nFROM none", "Dockerfile:3: base none", false},
		"empty name":             {"FROM $NONE", "Dockerfile:1: FROM $NONE: the name is empty", false},
		"platform":               {"FROM --platform=nope/nope/nope/nope base", "Dockerfile:1: FROM --platform", false},
		"no such platform":       {"FROM --platform=linux/s390x base", "Dockerfile:1: base base: no image for linux/s390x", false},
		"no such image":          {"FROM base\nCOPY --from=none /a /b", "Dockerfile:2: base none", false},
		"--from of itself":       {"FROM base AS one\nCOPY --from=one /a /b", "Dockerfile:2: --from=one: that stage comes later, or is this one", false},
		"--from of a number":     {"FROM base\nCOPY --from=7 /a /b", "Dockerfile:2: --from=7: there are 1 stages", false},
		"--from of a variable":   {"ARG A=base\nFROM base\nCOPY --from=$A /a /b", "Dockerfile:3: --from=$A: no variables are put in here", false},
		"required":               {"FROM base\nENV A=${N:?say N}", "Dockerfile:2: ", false},
		"signal":                 {"FROM base\nSTOPSIGNAL SIGNOPE", "Dockerfile:2: STOPSIGNAL \"SIGNOPE\": that is no signal", false},
		"port":                   {"FROM base\nEXPOSE 80/icmp", "Dockerfile:2: EXPOSE \"80/icmp\"", false},
		"large port":             {"FROM base\nEXPOSE 65536", "Dockerfile:2: EXPOSE \"65536\"", false},
		"many ports":             {"FROM base\nEXPOSE 1-65535\nEXPOSE 1-65535/udp", "Dockerfile:3: what the instructions set", false},
		"volume":                 {"FROM base\nVOLUME [\"\"]", "Dockerfile:2: VOLUME", false},
		"shell":                  {"FROM base\nSHELL sh -c", "Dockerfile:2: ", false},
		"large variable":         {"FROM base\nENV A=0123456789abcdef\n" + strings.Repeat("ENV A=$A$A$A$A$A$A$A$A\n", 6), "Dockerfile:7: ", false},
		"many instructions":      {"FROM base\n" + strings.Repeat("ENV A=b\n", 2000), "Dockerfile: 2001 instructions, more than 2000", false},
		"chown of nobody":        {"FROM base\nCOPY --chown=nobody a /x", "Dockerfile:2: --chown: \"nobody\" is not in the image's /etc/passwd", true},
		"chown without passwd":   {"FROM scratch\nCOPY --chown=app a /x", "Dockerfile:2: --chown: there is no /etc/passwd", true},
		"chmod":                  {"FROM base\nCOPY --chmod=rwx a /x", "Dockerfile:2: COPY a: --chmod", true},
		"several without slash":  {"FROM base\nCOPY a dir /x", "Dockerfile:2: COPY a dir: several sources need a destination that ends with a slash: /x/", true},
		"missing":                {"FROM base\n\nCOPY none /x", "Dockerfile:3: COPY none: \"none\": not found in the context", true},
		"above":                  {"FROM base\nCOPY ../x /x", "Dockerfile:2: COPY ../x: \"../x\" leads out of the context", true},
		"COPY of a URL":          {"FROM base\nCOPY https://host.invalid/x /x", "Dockerfile:2: ", true},
		"checksum":               {"FROM base\nADD --checksum=sha256:1 https://host.invalid/x /x", "Dockerfile:2: ADD https://host.invalid/x: --checksum", true},
		"user that is not there": {"FROM base\nUSER nobody\nWORKDIR /new", "Dockerfile:3: USER \"nobody\": ", true},
		"workdir at a file":      {"FROM base\nWORKDIR /etc/passwd", "Dockerfile:2: WORKDIR \"/etc/passwd\": something that is no directory", true},
		"drive":                  {"FROM win1\nWORKDIR D:\\\\x", "Dockerfile:2: ", false},
		"signal on Windows":      {"FROM win1\nSTOPSIGNAL SIGTERM", "Dockerfile:2: STOPSIGNAL \"SIGTERM\": Windows has no signals", false},
		"check":                  {"# check=error=true\nFROM base\nMAINTAINER me", "Dockerfile:3: MaintainerDeprecated", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := base()
			_, err := w.build(t, dockerfile.Options{Text: []byte(c.file)}, build.Want{})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if !c.late && len(w.read) > 0 {
				t.Errorf("%d layers were read", len(w.read))
			}
		})
	}
}

// Few lines cannot keep a machine busy, and who stops it is heard.
func TestManyLines(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	file.WriteString("FROM scratch\n")
	for n := range 1990 {
		fmt.Fprintf(&file, "ENV V%d=x\n", n)
	}
	start := time.Now()
	if _, err := base().build(t, dockerfile.Options{Text: []byte(file.String())}, build.Want{}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 20*time.Second { // it is a quarter of a second, and was a minute
		t.Errorf("it takes %s", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := build.Run(ctx, engine(t, base()), dockerfile.New(dockerfile.Options{Text: []byte(file.String()), Host: platform("linux/amd64")}), build.Want{}, build.RunOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A target that is not there is an error that tells the names.
func TestNoTarget(t *testing.T) {
	t.Parallel()
	_, err := base().build(t, dockerfile.Options{Text: []byte("FROM base AS one\nFROM base AS two"), Target: "three"}, build.Want{})
	if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), `no stage "three"; there is one, two`) {
		t.Errorf("got %v", err)
	}
}

// A text with replacements in it is not refused for what it cannot become.
func TestReplacements(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("line of a text\n", 1000)
	file := "FROM scratch\nENV V=1.2.3 W=4.5\nCOPY <<E /x\n" + text + "${V//./-} ${W//./-}\n" + text + "${V//3/$W}\nE\n"
	if _, err := base().build(t, dockerfile.Options{Text: []byte(file)}, build.Want{}); err != nil {
		t.Error(err)
	}
}

// A context that is a tar is no layer: names that delete something in one are
// refused, and nothing of it is laid out.
func TestWhiteoutsInContext(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".wh.a", "dir/.wh..wh..opq"} {
		dir := t.TempDir()
		_, err := dockerfile.Unpack(t.Context(), bytes.NewReader(tarOf(map[string]string{"Dockerfile": "FROM scratch", "a": "a", name: ""})), dir, t.TempDir())
		if !errors.Is(err, oci.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("%s: %d files, %v", name, len(list), err)
		}
	}
}
