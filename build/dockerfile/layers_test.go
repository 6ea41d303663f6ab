// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// history are the lines that a build added, with + before those of a layer.
func (b *built) history(n int) (lines []string) {
	for _, h := range b.Stacks[n].History() {
		if h.CreatedBy != "unknown" {
			lines = append(lines, map[bool]string{true: "- ", false: "+ "}[h.EmptyLayer]+h.CreatedBy)
		}
	}
	return lines
}

func TestHistory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		args map[string]string
		want []string
	}{
		"instructions": {"FROM scratch\nENV A=1 B=\"2 3\"\nLABEL l=m\nUSER 5\nEXPOSE 80\nVOLUME /v\nCMD [\"a\"]\nENTRYPOINT b\nSTOPSIGNAL 9\nSHELL [\"x\"]\nMAINTAINER me\nONBUILD USER 1", nil,
			[]string{`- ENV A=1 B=2 3`, `- LABEL l=m`, `- USER 5`, `- EXPOSE [80/tcp]`, `- VOLUME [/v]`, `- CMD ["a"]`, `- ENTRYPOINT ["/bin/sh" "-c" "b"]`, `- STOPSIGNAL 9`, `- SHELL [x]`, `- MAINTAINER me`}},
		"files": {"FROM scratch\nUSER 5\nCOPY --chown=1:2 --chmod=600 a /x/\nWORKDIR /x\nWORKDIR /y\nCOPY *.none /n/\nADD <<f /z/\nhi\nf\nENV A=1", nil,
			[]string{`- USER 5`, `+ COPY --chown=1:2 --chmod=600 a /x/ # buildkit`, `- WORKDIR /x`, `+ WORKDIR /y`, `- COPY *.none /n/ # buildkit`, `+ ADD <<f /z/ # buildkit`, `- ENV A=1`}},
		"args":                {"FROM scratch\nARG A=default\nARG TOKEN B=x$A", map[string]string{"TOKEN": "hidden"}, []string{`- ARG A=default`, `- ARG TOKEN B=xdefault`}},
		"args that are given": {"ARG V=1\nFROM scratch\nARG V=2", map[string]string{"V": "hidden"}, []string{`- ARG V`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := base().build(t, dockerfile.Options{Text: []byte(c.file), Args: c.args}, build.Want{})
			if err != nil {
				t.Fatal(err)
			}
			if got := b.history(0); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// One Dockerfile on several versions of Windows: nothing of a base is read, and
// all have the same layers.
func TestWindowsBases(t *testing.T) {
	t.Parallel()
	w := base()
	file := "# escape=`\nFROM win\nWORKDIR C:\\app\nCOPY dir C:\\app\\\nCOPY a sub\\\nENV path=C:\\app\nCMD app.exe"
	for name, want := range map[string]build.Want{"of the file": {}, "of the user": {From: []string{"win1", "win2"}}} {
		b, err := w.build(t, dockerfile.Options{Text: []byte(file)}, want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(b.Stacks) != 2 || len(w.read) > 0 {
			t.Fatalf("%s: %d images, %d layers read", name, len(b.Stacks), len(w.read))
		}
		var all [2][]string
		for n, s := range b.Stacks {
			for _, l := range s.Layers()[1:] {
				all[n] = append(all[n], string(l.Descriptor.Digest))
			}
		}
		if len(all[0]) != 3 || !slices.Equal(all[0], all[1]) {
			t.Errorf("%s: the layers are %v", name, all)
		}
		if c := b.config(t); string(c["WorkingDir"]) != `"\\app"` || string(c["Env"]) != `["Path=C:\\app"]` || string(c["Cmd"]) != `["cmd","/S","/C","app.exe"]` {
			t.Errorf("%s: config %s", name, c)
		}
		if a, b := b.Targets[0].Platform.OSVersion, b.Targets[1].Platform.OSVersion; a != "10.0.17763.1" || b != "10.0.20348.2" {
			t.Errorf("%s: versions %s, %s", name, a, b)
		}
	}
}

// What a COPY of a context means is read and packed once for all
// platforms whose bases answer alike.
func TestPackedOnce(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	dir := t.TempDir()
	write(t, dir, map[string]string{"Dockerfile": "FROM base\nCOPY big /srv/\n"})
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	inputs := func(platforms ...string) int64 {
		var begun, bytes atomic.Int64
		m := input.New(input.Options{TempDir: t.TempDir(), Progress: func(_ *input.Input, n int) {
			if n == 0 {
				begun.Add(1)
			}
			bytes.Add(int64(n))
		}})
		defer m.Close()
		w := base()
		e := build.NewEngine(build.Options{Open: w.open, Maker: m, Outlines: &layer.Outlines{}, TempDir: t.TempDir()})
		var want build.Want
		for _, p := range platforms {
			want.Platforms = append(want.Platforms, platform(p))
		}
		r, err := build.Run(t.Context(), e, dockerfile.New(dockerfile.Options{Context: dir, Host: platform("linux/amd64")}), want, build.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		digests := map[oci.Digest]bool{}
		for _, s := range r.Stacks {
			digests[s.Layers()[1].Descriptor.Digest] = true
		}
		if len(r.Stacks) != len(platforms) || len(digests) != 1 {
			t.Errorf("%d images with %d layers", len(r.Stacks), len(digests))
		}
		if n := bytes.Load(); n > size+1<<20 {
			t.Errorf("%d bytes were packed", n)
		}
		return begun.Load()
	}
	one, two := inputs("linux/amd64"), inputs("linux/amd64", "linux/arm64")
	if one != two {
		t.Errorf("for one platform %d inputs are read, for two %d", one, two)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	w := base()
	o := dockerfile.Options{Text: []byte("FROM bare AS one\nFROM base AS two\nARG TOKEN\nCOPY --from=one /x /x\nCOPY --from=single /etc/passwd /y"), Context: t.TempDir(),
		Host: platform("linux/amd64"), Target: "two", Args: map[string]string{"TOKEN": "hidden"}}
	b := dockerfile.New(o)
	r, err := build.Run(t.Context(), engine(t, w), b, build.Want{}, build.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	about, err := b.(build.Describer).Describe(context.Background())
	want := fmt.Sprintf("map[buildArgs:[TOKEN] dockerfile:Dockerfile dockerfileDigest:%s target:two]", oci.FromBytes(o.Text))
	if err != nil || about.Type != "dockerfile" || fmt.Sprint(about.Parameters) != want {
		t.Errorf("got %+v, %v", about, err)
	}
	var got []string
	for _, m := range r.Stacks[0].Materials {
		got = append(got, m.Name+" "+m.Digest["sha256"])
	}
	if want := []string{"image " + w.roots["bare"].Digest.Encoded(), "image " + w.roots["single"].Digest.Encoded()}; !slices.Equal(got, want) {
		t.Errorf("materials %q, want %q", got, want)
	}
	watch, err := b.(build.Watcher).Watch(context.Background())
	if err != nil || !slices.Equal(watch, []string{o.Context}) {
		t.Errorf("watched %v, %v", watch, err)
	}
}
