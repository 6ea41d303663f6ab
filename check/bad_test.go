// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/check"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

func TestBad_024_Config(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"no diff IDs":     {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers"}}`, []string{"error layers 0"}},
		"too many":        {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["ID","ID"]}}`, []string{"error layers 0"}},
		"another":         {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`, []string{"error diff-id 1"}},
		"no digest":       {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["../../x"]}}`, []string{"error config 1"}},
		"wrong type":      {`{"os":"linux","architecture":"amd64","config":{"Env":"x"},"rootfs":{"type":"layers","diff_ids":["ID"]}}`, []string{"error config 0"}},
		"not JSON":        {`x`, []string{"error config 0"}},
		"twice":           {`{"os":"linux","os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["ID"]}}`, []string{"error config 0"}},
		"other case":      {`{"os":"linux","Architecture":"amd64","rootfs":{"type":"layers","diff_ids":["ID"]}}`, []string{"error config 0"}},
		"10k of history":  {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["ID"]},"history":[` + strings.Repeat("{},", 9999) + `{}]}`, []string{"warning history 0"}},
		"unknown members": {`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["ID"]},"x":{"y":[1e999]}}`, nil},
	} {
		p := newPlace()
		i := newImage(t, p).tar("a=1")
		i.manifest.Config = p.put(oci.MediaConfig, []byte(strings.ReplaceAll(c.config, "ID", string(i.config.RootFS.DiffIDs[0]))))
		t.Run(name, func(t *testing.T) { find(t, p, i.put(), check.Options{}, c.want...) })
	}
}

func TestBad_025_MediaTypes(t *testing.T) {
	t.Parallel()
	plain := tarOf(t, "a=1")
	for _, says := range []string{oci.MediaLayer, oci.MediaLayerGzip, oci.MediaLayerZstd, oci.MediaDockerLayer} {
		for _, is := range []string{oci.MediaLayer, oci.MediaLayerGzip, oci.MediaLayerZstd} {
			p := newPlace()
			i := newImage(t, p).layer(is, plain)
			i.manifest.Layers[0].MediaType = says
			var want []string
			if says == oci.MediaDockerLayer {
				want = append(want, "warning mix 0")
			}
			if says != is && !(says == oci.MediaDockerLayer && is == oci.MediaLayerGzip) {
				want = append(want, "warning media-type 1")
			}
			find(t, p, i.put(), check.Options{}, want...)
		}
	}
	p := newPlace()
	i := newImage(t, p).layer(oci.MediaLayer, plain).layer("text/plain", []byte("no layer"))
	find(t, p, i.put(), check.Options{}, "warning media-type 2")
}

func TestBad_058_UnsafePaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../x", "a/../../x", "", "..", "a/../.."} {
		p := newPlace()
		find(t, p, newImage(t, p).layer(oci.MediaLayer, rawEntry(t, name, tar.TypeReg)).put(), check.Options{}, "error tar 1")
	}
	for _, name := range []string{".", "/"} {
		p := newPlace()
		find(t, p, newImage(t, p).layer(oci.MediaLayer, rawEntry(t, name, tar.TypeSymlink)).put(), check.Options{}, "error tar 1")
	}
	p := newPlace() // ordinary in old images
	find(t, p, newImage(t, p).layer(oci.MediaLayer, rawEntry(t, "/abs/x", tar.TypeReg)).put(), check.Options{})
}

// rawEntry is a tar of one header, with a name that archive/tar would not take.
func rawEntry(t *testing.T, name string, kind byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "x", Typeflag: kind, Mode: 0o644, Format: tar.FormatUSTAR}
	if kind == tar.TypeSymlink {
		h.Linkname = "y"
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	clear(raw[:100])
	copy(raw, name)
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	for i := range 6 {
		raw[148+5-i] = '0' + byte(sum>>(3*i)&7)
	}
	raw[154], raw[155] = 0, ' '
	return raw
}

func TestBad_063_Whiteouts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".wh.", "a/.wh..", ".wh..."} {
		p := newPlace()
		find(t, p, newImage(t, p).tar(name+"=").put(), check.Options{}, "error tar 1")
	}
	// What a layer takes away is of lower layers, wherever the whiteout stands.
	p := newPlace()
	find(t, p, newImage(t, p).tar("d/ d/old=1").tar("d/ d/new=1 d/.wh.new= d/.wh..wh..opq= x=>d/new .wh.gone= d/.wh..wh.plnk=").put(), check.Options{})
}

func TestBad_065_Duplicates(t *testing.T) {
	t.Parallel()
	p := newPlace()
	find(t, p, newImage(t, p).tar("d/ d/f=1 f=1 d=x ./f=2 l->a l->b").put(), check.Options{},
		"error duplicate 1 /d", "error duplicate 1 /f", "error duplicate 1 /l")
}

func TestBad_070_Bombs(t *testing.T) {
	t.Parallel()
	bomb := make([]byte, 4<<20)
	o := check.Options{}
	o.Limits.Bytes = 64 << 10
	for _, mediaType := range []string{oci.MediaLayerGzip, oci.MediaLayerZstd} {
		p := newPlace()
		find(t, p, newImage(t, p).layer(mediaType, bomb).put(), o, "error limit 1")
	}
}

func TestBad_071_TwoReadings(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3, Format: tar.FormatPAX, PAXRecords: map[string]string{"VENDOR.size": "0"}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := newPlace()
	find(t, p, newImage(t, p).layer(oci.MediaLayer, b.Bytes()).put(), check.Options{})
	twisted := bytes.Replace(b.Bytes(), []byte("17 VENDOR.size=0\n"), []byte("17 size=00000001\n"), 1)
	if bytes.Equal(twisted, b.Bytes()) {
		t.Fatal("the record is not where it was")
	}
	find(t, p, newImage(t, p).layer(oci.MediaLayer, twisted).put(), check.Options{}, "error tar 1")
}

func TestBad_072_Trailing(t *testing.T) {
	t.Parallel()
	one, two := tarOf(t, "a=1"), tarOf(t, "b=2")
	zeros := make([]byte, 10_000)
	for name, c := range map[string]struct {
		plain []byte
		want  []string
	}{
		"zeros":      {append(bytes.Clone(one), zeros...), nil},
		"second tar": {append(bytes.Clone(one), two...), []string{"warning trailing 1"}},
		"one byte":   {append(append(bytes.Clone(one), zeros...), 'x'), []string{"warning trailing 1"}},
	} {
		for _, mediaType := range []string{oci.MediaLayer, oci.MediaLayerGzip, oci.MediaLayerZstd} {
			p := newPlace()
			t.Run(name, func(t *testing.T) {
				find(t, p, newImage(t, p).layer(mediaType, c.plain).put(), check.Options{}, c.want...)
			})
		}
	}
	// Members of gzip one after the other are one stream.
	p := newPlace()
	i := newImage(t, p).layer(oci.MediaLayerGzip, one)
	i.manifest.Layers[0] = p.put(oci.MediaLayerGzip, append(pack(t, oci.MediaLayerGzip, one[:700]), pack(t, oci.MediaLayerGzip, one[700:])...))
	find(t, p, i.put(), check.Options{})
	// Wrong bytes after the end of the tar are seen as well.
	wrong := bytes.Clone(p.blobs[i.manifest.Layers[0].Digest])
	wrong[len(wrong)-1] ^= 1
	p.blobs[i.manifest.Layers[0].Digest], p.opened = wrong, map[oci.Digest]int{}
	find(t, p, i.put(), check.Options{}, "error corrupt 1")
}

func TestBad_082_Layout(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(5, 2, 1000)
	target := f.Layers()[0].Descriptor()
	for name, c := range map[string]struct {
		do   func(path string) error
		want string
	}{
		"absent":       {os.Remove, check.CodeMissing},
		"a directory":  {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, ""},
		"a symlink":    {func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) }, ""},
		"wrong bytes":  {func(p string) error { return os.WriteFile(p, make([]byte, target.Size), 0o600) }, check.CodeCorrupt},
		"another size": {func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := layout.Open(dir, layout.Options{Create: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Push(t.Context(), s, "1"); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "blobs", "sha256", target.Digest.Encoded())
			_ = os.Chmod(path, 0o600)
			if err := c.do(path); err != nil {
				t.Fatal(err)
			}
			got, _, err := check.Graph(context.Background(), s, f.Root, check.Options{})
			if err != nil || len(got) != 1 || got[0].Severity != check.Error || c.want != "" && got[0].Code != c.want || got[0].Digest != target.Digest {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
