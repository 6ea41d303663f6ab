// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/store/layout"
)

const (
	mostMemory  = 128 // MiB, whatever the size of a blob
	mostPacking = 200 // where zstd is packed, whose windows are not counted
)

// TestMemory runs the command on images with one large layer and looks at its
// peak memory. DRAY_TEST_SIZES gives other sizes, in MiB.
func TestMemory(t *testing.T) {
	sizes := "100 500"
	if s := os.Getenv("DRAY_TEST_SIZES"); s != "" {
		sizes = s
	}
	for _, text := range strings.Fields(sizes) {
		mib, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) {
			dir := t.TempDir()
			bigImage(t, filepath.Join(dir, "big"), int64(mib)<<20)
			registry := distribution(t)
			in := func(name string) string { return filepath.Join(dir, name) }
			for _, c := range [][]string{
				{"copy", "oci:" + in("big"), registry + "/big:1"},
				{"copy", registry + "/big:1", "oci:" + in("layout") + ":1"},
				{"copy", registry + "/big:1", registry + "/other:1", "--media-types", "docker"},
				{"copy", registry + "/big:1", "oci-archive:" + in("oci.tar")},
				{"copy", "oci-archive:" + in("oci.tar"), "docker-archive:" + in("docker.tar")},
				{"copy", "docker-archive:" + in("docker.tar"), "dir:" + in("dir")},
				{"validate", registry + "/big:1"},
				{"export", registry + "/big:1", in("export.tar")},
				{"unpack", registry + "/big:1", in("unpacked")},
				{"cat", registry + "/big:1", "big"},
				{"pack", in("unpacked"), in("layer.tgz")},
				{"copy", registry + "/big:1", "oci:" + in("zstd"), "--compress", "zstd"},
			} {
				got := peak(t, c...)
				t.Logf("%4d MiB  %-8s %-14s -> %-14s %4d MiB", mib, c[0], kind(c[1]), strings.TrimPrefix(kind(c[2:]...)+" "+strings.Join(c[min(3, len(c)):], " "), "- "), got)
				most := int64(mostMemory)
				if c[len(c)-1] == "zstd" {
					most = mostPacking
				}
				if got > most {
					t.Errorf("dray %s: %d MiB of memory, want at most %d", strings.Join(c, " "), got, most)
				}
				for _, done := range []string{"export.tar", "docker.tar", "dir", "layer.tgz", "zstd", "layout"} {
					if strings.HasSuffix(c[len(c)-1], done) && done != "docker.tar" && done != "dir" {
						os.RemoveAll(in(done))
					}
				}
			}
		})
	}
}

// kind is where a reference is, for the log.
func kind(names ...string) string {
	if len(names) == 0 {
		return "-"
	}
	scheme, _, _ := strings.Cut(names[0], ":")
	switch {
	case strings.HasPrefix(scheme, "127."):
		return "registry"
	case strings.Contains(scheme, "/"):
		return "file"
	}
	return scheme
}

// peak runs dray and tells the most memory it had, in MiB. The system counts
// that of the parent before exec as well, so a small process is between.
func peak(t *testing.T, args ...string) int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{drayBin}, args...)...)
	cmd.Env = append(env(t), measured+"=1")
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	kib, perr := strconv.ParseInt(out.String(), 10, 64)
	if err != nil || perr != nil {
		t.Fatalf("dray %s: %v, %v\n%s", strings.Join(args, " "), err, perr, errOut.String())
	}
	return kib >> 10
}

const measured = "DRAY_TEST_MEASURED"

// init is the small process, before anything of a test is there.
func init() {
	if os.Getenv(measured) == "" {
		return
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString(strconv.FormatInt(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss, 10))
	os.Exit(0)
}

// bigImage makes a layout with an image whose only layer has one file of random
// bytes.
func bigImage(t *testing.T, dir string, size int64) {
	t.Helper()
	file, err := os.Create(dir + ".layer")
	check(t, err)
	defer os.Remove(file.Name())
	tarred, in := io.Pipe()
	go func() {
		w := tar.NewWriter(in)
		err := w.WriteHeader(&tar.Header{Name: "big", Size: size, Mode: 0o644, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = io.CopyN(w, rand.NewChaCha8([32]byte{1}), size)
		}
		if err == nil {
			err = w.Close()
		}
		in.CloseWithError(err)
	}()
	packed, err := layer.Pack(file, tarred, layer.Packing{Compression: layer.Gzip, Level: 1})
	check(t, err)
	check(t, file.Close())
	ctx := t.Context()
	l, err := layout.Open(dir, layout.Options{Create: true})
	check(t, err)
	blob := fileBlob{file.Name(), oci.Descriptor{MediaType: oci.MediaLayerGzip, Digest: packed.Digest, Size: packed.Size}}
	config, err := json.Marshal(v1.Image{Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []oci.Digest{packed.DiffID}}})
	check(t, err)
	c := oci.Bytes(oci.MediaConfig, config)
	raw, err := json.Marshal(v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaManifest, Config: c.Descriptor(), Layers: []oci.Descriptor{blob.d}})
	check(t, err)
	for _, b := range []oci.Blob{blob, c} {
		_, err := l.Put(ctx, b)
		check(t, err)
	}
	check(t, l.Publish(ctx, oci.Bytes(oci.MediaManifest, raw), "1"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type fileBlob struct {
	name string
	d    oci.Descriptor
}

func (b fileBlob) Descriptor() oci.Descriptor { return b.d }

func (b fileBlob) Open(context.Context) (io.ReadCloser, error) {
	f, err := os.Open(b.name)
	if err != nil {
		return nil, err
	}
	return oci.Verify(f, b.d), nil
}
