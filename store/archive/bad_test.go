// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/archive"
)

// use resolves a name and reads all of it.
func use(t testing.TB, a *archive.Archive, name string) error {
	t.Helper()
	d, err := a.Resolve(t.Context(), name)
	if err != nil {
		return err
	}
	return graph(t, a, d)
}

func TestBad_077_MembersElsewhere(t *testing.T) {
	t.Parallel()
	one := layerTar(t, 1)
	conf := config(one)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	chain := func(n int) (out []file) {
		for i := range n {
			out = append(out, file{name: fmt.Sprint("l", i), kind: tar.TypeSymlink, link: fmt.Sprint("l", i+1)})
		}
		return append(out, file{name: fmt.Sprint("l", n), body: one})
	}
	link := func(to string) file { return file{name: "l0", kind: tar.TypeSymlink, link: to} }
	for name, c := range map[string]struct {
		config, layer string
		extra         []file
		want          error
	}{
		"good":                    {"c", "l0", chain(0), nil},
		"eight links":             {"c", "l0", chain(8), nil},
		"nine links":              {"c", "l0", chain(9), oci.ErrInvalid},
		"a circle":                {"c", "l0", []file{link("l1"), {name: "l1", kind: tar.TypeLink, link: "l0"}}, oci.ErrInvalid},
		"a link to itself":        {"c", "l0", []file{link("l0")}, oci.ErrInvalid},
		"layer above":             {"c", "../l0", chain(0), oci.ErrInvalid},
		"layer elsewhere":         {"c", secret, chain(0), oci.ErrInvalid},
		"layer is missing":        {"c", "l9", chain(0), oci.ErrNotFound},
		"layer has no name":       {"c", "", chain(0), oci.ErrInvalid},
		"layer is the top":        {"c", ".", chain(0), oci.ErrInvalid},
		"config above":            {"x/../../c", "l0", chain(0), oci.ErrInvalid},
		"config elsewhere":        {"/c", "l0", chain(0), oci.ErrInvalid},
		"config is missing":       {"d", "l0", chain(0), oci.ErrNotFound},
		"link elsewhere":          {"c", "l0", []file{link(secret)}, oci.ErrInvalid},
		"link above":              {"c", "l0", []file{link("../" + secret)}, oci.ErrInvalid},
		"link to what is missing": {"c", "l0", []file{link("gone")}, oci.ErrNotFound},
		"layer is a device":       {"c", "l0", []file{{name: "l0", kind: tar.TypeChar}}, oci.ErrCorrupt},
		"layer is a directory":    {"c", "l0", []file{{name: "l0", kind: tar.TypeDir}}, oci.ErrNotFound},
		"members elsewhere":       {"c", "l0", []file{{name: "/l0", body: one}, {name: "../l0", body: one}, {name: "a/../../l0", body: one}}, oci.ErrNotFound},
	} {
		a := docker(t, append(c.extra, file{name: "c", body: conf}, manifestOf(c.config, `["x:1"]`, c.layer))...)
		if err := use(t, a, "x:1"); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestBad_078_SamePathTwice(t *testing.T) {
	t.Parallel()
	one, two := layerTar(t, 1), layerTar(t, 2)
	base := []file{{name: "c", body: config(one)}, {name: "l", body: one}, manifestOf("c", `["x:1"]`, "l")}
	for name, c := range map[string]struct {
		again file
		want  error
	}{
		"manifest.json":                {manifestOf("c", `["y:1"]`, "l"), oci.ErrInvalid},
		"manifest.json, equal":         {base[2], nil},
		"manifest.json, other name":    {file{name: "./manifest.json", body: "[]"}, oci.ErrInvalid},
		"manifest.json, of equal size": {file{name: "manifest.json", body: strings.Replace(base[2].body, "x:1", "y:1", 1)}, oci.ErrInvalid},
		"manifest.json, a link":        {file{name: "manifest.json", kind: tar.TypeSymlink, link: "c"}, oci.ErrInvalid},
		"layer":                        {file{name: "l", body: two}, oci.ErrInvalid},
		"layer, equal":                 {base[1], nil},
		"config":                       {file{name: "x/../c", body: config(two)}, oci.ErrInvalid},
	} {
		for _, files := range [][]file{append(slices.Clone(base), c.again), append([]file{c.again}, base...)} {
			if err := use(t, docker(t, files...), ""); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", name, err, c.want)
			}
		}
	}
	layout := unpack(t, read(t, made(t, archive.OCI, ocitest.Image(1, 1, 10), "1")))
	for _, name := range []string{"index.json", "oci-layout", layout[0].name} {
		other := file{name: name, body: strings.Replace(body(t, layout, name), `"`, ` "`, 1)}
		err := use(t, open(t, write(t, pack(t, append(layout, other)...)), archive.Options{}), "1")
		wantErr(t, name, err, oci.ErrInvalid)
	}
}

func TestBad_079_HugeDocuments(t *testing.T) {
	t.Parallel()
	var head bytes.Buffer
	huge := func(name string, others ...file) string { // its bytes are a hole in the file
		const size = 17 << 20
		head.Reset()
		if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: name, Size: size, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		b := pack(t, others...)
		b = append(b[:len(b)-1024], head.Bytes()...)
		path := write(t, b)
		if err := os.Truncate(path, int64(len(b)+size+1024)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	layout := unpack(t, read(t, made(t, archive.OCI, ocitest.Image(1, 1, 10), "1")))
	without := func(name string) []file {
		return slices.DeleteFunc(slices.Clone(layout), func(f file) bool { return f.name == name })
	}
	for _, name := range []string{"index.json", "oci-layout"} {
		_, err := open(t, huge(name, without(name)...), archive.Options{}).Resolve(t.Context(), "1")
		wantErr(t, name, err, oci.ErrInvalid)
	}
	id := strings.Repeat("a", 64)
	for name, path := range map[string]string{
		"manifest.json":  huge("manifest.json"),
		"repositories":   huge("repositories"),
		"config":         huge("c", manifestOf("c", `null`)),
		"legacy json":    huge(id+"/json", file{name: "repositories", body: `{"x":{"1":"` + id + `"}}`}),
		"many layers":    write(t, pack(t, file{name: "c", body: config()}, file{name: "manifest.json", body: `[{"Config":"c","Layers":["x"` + strings.Repeat(`,"x"`, oci.MaxNodes) + `]}]`})),
		"many images":    write(t, pack(t, file{name: "manifest.json", body: `[{}` + strings.Repeat(`,{}`, oci.MaxNodes) + `]`})),
		"keys twice":     write(t, pack(t, file{name: "manifest.json", body: `[{"Config":"c","Config":"d"}]`})),
		"keys like ours": write(t, pack(t, file{name: "manifest.json", body: `[{"config":"c"}]`})),
	} {
		_, err := open(t, path, archive.Options{Kind: archive.Docker}).Resolve(t.Context(), "")
		wantErr(t, name, err, oci.ErrInvalid)
	}
}

func TestBad_080_LayerIsNotItsDiffID(t *testing.T) {
	t.Parallel()
	one, two := layerTar(t, 1), layerTar(t, 1001)
	a := docker(t, file{name: "c", body: config(one)}, file{name: "l", body: two}, manifestOf("c", `["x:1"]`, "l"))
	wantErr(t, "other bytes", use(t, a, "x:1"), oci.ErrCorrupt)
	flipped := []byte(one)
	flipped[700] ^= 1
	a = docker(t, file{name: "c", body: config(one)}, file{name: "l", body: string(flipped)}, manifestOf("c", `["x:1"]`, "l"))
	ocitest.CheckCorrupt(t, a, fetch(t, a, "x:1").Layers[0])
	for name, conf := range map[string]string{
		"too few diff IDs": config(), "too many": config(one, two), "no config": "[]", "not JSON": "{", "two readings": `{"rootfs":{"diff_ids":[]},"Rootfs":{"diff_ids":["x"]}}`,
		"diff ID climbs": `{"rootfs":{"diff_ids":["sha256:../../x"]}}`,
	} {
		a := docker(t, file{name: "c", body: conf}, file{name: "l", body: one}, manifestOf("c", `["x:1"]`, "l"))
		wantErr(t, name, use(t, a, "x:1"), oci.ErrInvalid)
	}
}

func TestBad_081_TagsNobodyAskedFor(t *testing.T) {
	t.Parallel()
	one, two := layerTar(t, 1), layerTar(t, 2)
	images := `[{"Config":"c1","RepoTags":["good:1"],"Layers":["1"]},{"Config":"c2","RepoTags":["evil:1","alpine:latest","\u001b[31m:2"],"Layers":["2"]}]`
	a := docker(t, file{name: "c1", body: config(one)}, file{name: "1", body: one}, file{name: "c2", body: config(two)}, file{name: "2", body: two},
		file{name: "manifest.json", body: images})
	if err := use(t, a, "good:1"); err != nil {
		t.Error(err)
	}
	_, err := a.Resolve(t.Context(), "")
	if wantErr(t, "which one", err, oci.ErrInvalid); err != nil && (!strings.Contains(err.Error(), `"good:1", "evil:1", "alpine:latest"`) || strings.Contains(err.Error(), "\x1b")) {
		t.Errorf("the names are not listed: %v", err)
	}
	if d := fetch(t, a, "@1"); d.Config.Digest != oci.FromBytes([]byte(config(two))) {
		t.Errorf("@1 is %s", d.Raw)
	}
	for _, bad := range []string{"@", "@x", "@-1", "@99999999999999999999"} {
		_, err := a.Resolve(t.Context(), bad)
		wantErr(t, bad, err, oci.ErrInvalid)
	}
}

func TestBad_082_BrokenLayouts(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	layout := unpack(t, read(t, made(t, archive.OCI, f, "1")))
	layer := f.Layers()[0].Descriptor()
	blob := func(d oci.Digest) string { return "blobs/sha256/" + d.Encoded() }
	change := func(name string, edit func(f *file) *file) []file {
		var out []file
		for _, m := range layout {
			if m.name == name {
				n := edit(&m)
				if n == nil {
					continue
				}
				m = *n
			}
			out = append(out, m)
		}
		return out
	}
	gone := func(*file) *file { return nil }
	says := func(s string) func(*file) *file {
		return func(f *file) *file { f.body = s; return f }
	}
	for name, c := range map[string]struct {
		files []file
		want  error
	}{
		"no oci-layout":           {change("oci-layout", gone), oci.ErrInvalid},
		"other version":           {change("oci-layout", says(`{"imageLayoutVersion":"2.0.0"}`)), oci.ErrUnsupported},
		"oci-layout is not JSON":  {change("oci-layout", says(`{`)), oci.ErrInvalid},
		"no index.json":           {change("index.json", gone), oci.ErrInvalid},
		"index.json is cut":       {change("index.json", says(body(t, layout, "index.json")[:50])), oci.ErrInvalid},
		"index.json is a list":    {change("index.json", says(`[]`)), oci.ErrInvalid},
		"index.json, schema 1":    {change("index.json", says(`{"schemaVersion":1,"manifests":[]}`)), oci.ErrInvalid},
		"digest climbs":           {change("index.json", says(`{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}`)), oci.ErrInvalid},
		"no manifest":             {change(blob(f.Root.Digest), gone), oci.ErrCorrupt},
		"no layer":                {change(blob(layer.Digest), gone), oci.ErrNotFound},
		"layer is cut":            {change(blob(layer.Digest), func(f *file) *file { f.body = f.body[:1500]; return f }), oci.ErrCorrupt},
		"layer is other bytes":    {change(blob(layer.Digest), func(f *file) *file { f.body = "x" + f.body[1:]; return f }), oci.ErrCorrupt},
		"manifest is other bytes": {change(blob(f.Root.Digest), func(f *file) *file { f.body = " " + f.body[1:]; return f }), oci.ErrCorrupt},
		"layer is a link": {append(change(blob(layer.Digest), func(f *file) *file {
			return &file{name: f.name, kind: tar.TypeSymlink, link: "../../layer"}
		}), file{name: "layer", body: body(t, layout, blob(layer.Digest))}), oci.ErrCorrupt},
		"layer is a fifo":      {change(blob(layer.Digest), func(f *file) *file { return &file{name: f.name, kind: tar.TypeFifo} }), oci.ErrCorrupt},
		"layer is a directory": {change(blob(layer.Digest), func(f *file) *file { return &file{name: f.name, kind: tar.TypeDir} }), oci.ErrNotFound},
	} {
		if err := use(t, open(t, write(t, pack(t, c.files...)), archive.Options{}), ""); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// An entry that is wrong does not stop the others. Nothing can be added beside
// it: what it leads to would be lost.
func TestBad_082_OneBrokenEntry(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 1000)
	layout := unpack(t, read(t, made(t, archive.OCI, f, "1")))
	for i, m := range layout {
		if m.name == "index.json" {
			layout[i].body = strings.Replace(m.body, `"manifests":[`, `"annotations":{"x":"y"},"manifests":[{"digest":"sha256:../../x","unknown":1},{"digest":7},`, 1)
		}
	}
	file := write(t, pack(t, layout...))
	wantResolve(t, open(t, file, archive.Options{}), "1", f.Root)
	wantRefused(t, file, "@0")
}

func TestBad_088_Budgets(t *testing.T) {
	t.Parallel()
	// Names: 32 MiB of them end the reading long before the members do.
	var b bytes.Buffer
	long := strings.Repeat("d/", 1990) + "x"
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: long, Typeflag: tar.TypeSymlink, Linkname: long, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, write(t, bytes.Repeat(b.Bytes(), 4300)), archive.Options{}).Resolve(t.Context(), "")
	if wantErr(t, "names", err, oci.ErrInvalid); err != nil && !strings.Contains(err.Error(), "bytes of names") {
		t.Error(err)
	}
	// A header that claims more than there is.
	for _, size := range []int64{1 << 40, 1<<63 - 1} {
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "index.json", Size: size, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, write(t, append(b.Bytes(), make([]byte, 4096)...)), archive.Options{}).Resolve(t.Context(), "")
		wantErr(t, fmt.Sprint("size ", size), err, oci.ErrInvalid)
	}
	for name, b := range map[string][]byte{"empty": nil, "zeros": make([]byte, 4096), "text": []byte(strings.Repeat("text ", 1000)), "short": []byte("x")} {
		for _, kind := range []archive.Kind{archive.OCI, archive.Docker} {
			_, err := open(t, write(t, b), archive.Options{Kind: kind}).Resolve(t.Context(), "")
			wantErr(t, name, err, oci.ErrInvalid)
		}
	}
}

// However an archive is cut, nothing of it is taken for whole that is not.
func TestTruncated(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 2, 2000)
	for _, kind := range []archive.Kind{archive.OCI, archive.Docker} {
		whole := read(t, made(t, kind, f, "a:1"))
		for n := 0; n < len(whole)-1024; n += 512 {
			for _, n := range []int{n, n + 1, n + 300, n + 511} {
				a := open(t, write(t, whole[:n]), archive.Options{Kind: kind})
				err := use(t, a, "a:1")
				if err == nil && n <= len(whole)-1024 || err != nil && !errors.Is(err, oci.ErrInvalid) && !errors.Is(err, oci.ErrNotFound) {
					t.Errorf("%v: %d of %d bytes: %v", kind, n, len(whole), err)
				}
				_ = a.Close()
			}
		}
	}
}

func TestBad_088_Bomb(t *testing.T) {
	t.Parallel()
	for in, limit := range map[int64]int64{1000: 4 << 30, 100 << 20: 23 << 30, 1 << 40: 1 << 40} {
		r, n := archive.Limited(in, func(p []byte) (int, error) { return 1 << 30, nil }), int64(0)
		for err := error(nil); err == nil; n += 1 << 30 {
			if _, err = r.Read(nil); err != nil {
				wantErr(t, "read", err, oci.ErrInvalid)
			}
			if n > 2<<40 {
				t.Fatal("there is no end")
			}
		}
		if n < limit || n > limit+2<<30 {
			t.Errorf("%d bytes may become %d, want about %d", in, n, limit)
		}
	}
}

// A manifest that dray cannot read keeps what is below it.
func TestBad_018_UnknownManifests(t *testing.T) {
	t.Parallel()
	below := "what the manifest leads to"
	m := `{"things":["` + string(oci.FromBytes([]byte(below))) + `"]}`
	name := func(s string) string { return "blobs/sha256/" + oci.FromBytes([]byte(s)).Encoded() }
	path := write(t, pack(t, file{name: name(below), body: below}, file{name: name(m), body: m}, file{name: "oci-layout", body: `{"imageLayoutVersion":"1.0.0"}`},
		file{name: "index.json", body: fmt.Sprintf(`{"manifests":[{"mediaType":"application/vnd.x.manifest.v7+json","digest":%q,"size":%d}]}`, oci.FromBytes([]byte(m)), len(m))}))
	f := ocitest.Image(1, 1, 10)
	push(t, open(t, path, archive.Options{Write: true}), f, "1")
	files := unpack(t, read(t, path))
	if body(t, files, name(below)) != below || body(t, files, name(m)) != m {
		t.Errorf("the archive holds %q", names(files))
	}
	wantResolve(t, open(t, path, archive.Options{}), "1", f.Root)
}
