// SPDX-License-Identifier: Apache-2.0

package edit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// A shelf is a source that has what was put on it, without asking what it is.
type shelf map[oci.Digest]oci.Blob

func (s shelf) put(mediaType, raw string) oci.Descriptor {
	b := oci.Bytes(mediaType, []byte(raw))
	s[b.Descriptor().Digest] = b
	return b.Descriptor()
}

func (s shelf) fill(f ocitest.Fixture) oci.Descriptor {
	for _, b := range f.Blobs {
		s[b.Descriptor().Digest] = b
	}
	return f.Root
}

func (s shelf) Resolve(ctx context.Context, name string) (oci.Descriptor, error) {
	return s.Stat(ctx, oci.Descriptor{Digest: oci.Digest(name)})
}

func (s shelf) Stat(_ context.Context, d oci.Descriptor) (oci.Descriptor, error) {
	if b := s[d.Digest]; b != nil {
		return b.Descriptor(), nil
	}
	return d, oci.Errorf(oci.ErrNotFound, "%s", d.Digest)
}

func (s shelf) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if b := s[d.Digest]; b != nil {
		return b.Open(ctx)
	}
	return nil, oci.Errorf(oci.ErrNotFound, "%s", d.Digest)
}

// image puts an image on the shelf: a config in which LAYERS stands for the diff
// IDs, and a manifest with more members in the form that others write.
func (s shelf) image(config string, layers int, docker bool, more string) oci.Descriptor {
	kinds := [3]string{oci.MediaManifest, oci.MediaConfig, oci.MediaLayerZstd}
	if docker {
		kinds = [3]string{oci.MediaDockerManifest, oci.MediaDockerConfig, oci.MediaDockerLayer}
	}
	var list, ids []string
	for n := range layers {
		l := s.put(kinds[2], fmt.Sprintf("layer %d of %s", n, config))
		list = append(list, fmt.Sprintf("\n      {\"x-own\": %d, \"digest\":%q, \"size\" : %d, \"mediaType\": %q}", n, l.Digest, l.Size, l.MediaType))
		ids = append(ids, fmt.Sprintf("%q", oci.FromBytes([]byte(l.Digest))))
	}
	c := s.put(kinds[1], strings.Replace(config, "LAYERS", strings.Join(ids, ", "), 1))
	return s.put(kinds[0], fmt.Sprintf("{\n   \"mediaType\": %q,%s\n   \"layers\": [%s\n   ],\n   \"config\": {\"size\": %d,\"digest\": %q, \"mediaType\": %q},\n   \"schemaVersion\": 2, \"x-unknown\" : [1 ,2]\n}\n",
		kinds[0], more, strings.Join(list, ","), c.Size, c.Digest, c.MediaType))
}

// index puts an index on the shelf; notes are put into its entries.
func (s shelf) index(docker bool, children []oci.Descriptor, more ...string) oci.Descriptor {
	kind := oci.MediaIndex
	if docker {
		kind = oci.MediaDockerList
	}
	var list []string
	for n, d := range children {
		var extra string
		if n < len(more) && more[n] != "" {
			extra = ", " + more[n]
		}
		list = append(list, fmt.Sprintf("{\"mediaType\":%q, \"size\":%d, \"digest\":%q%s}", d.MediaType, d.Size, d.Digest, extra))
	}
	return s.put(kind, fmt.Sprintf("{\"manifests\": [\n%s\n], \"mediaType\": %q, \"schemaVersion\": 2, \"x\": {}}", strings.Join(list, ",\n"), kind))
}

// rich is a config with what others write that dray does not know.
const rich = `{
  "x-first": {"b": 1.50e3, "a": null},
  "architecture": "amd64", "os": "linux", "os.features": ["f"],
  "config": {"Hostname": "", "Env": ["PATH=/bin", "A=<b>&"], "Cmd": ["a,b"], "Entrypoint": null,
     "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 5000000000, "X": 1}, "Labels": {"z": "1", "a": "<&>"}, "Image": "sha256:x"},
  "container_config": {"Env": ["OLD=1"], "Cmd": ["x"]},
  "rootfs": {"diff_ids": [LAYERS], "type": "layers", "x": 1},
  "created": "2024-05-06T07:08:09.123456789Z", "docker_version": "20.10",
  "history": [{"created_by": "ADD", "x": true}, {"empty_layer": true, "created_by": "ENV"}, {"created_by": "RUN", "created": "2020-01-01T00:00:00Z"}]
}
`

func load(t testing.TB, s oci.Source, d oci.Descriptor) edit.Node {
	t.Helper()
	n, err := edit.Load(t.Context(), s, d, edit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func seal(t testing.TB, n edit.Node) *edit.Sealed {
	t.Helper()
	s, err := edit.Seal(n)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, s)
	return s
}

func apply(t testing.TB, n edit.Node, edits ...edit.Edit) edit.Node {
	t.Helper()
	for _, i := range edit.Images(n) {
		if err := i.Apply(edits...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// whole checks that all manifests and configs of a graph can be read, that they
// are of one family, and that configs fit.
func whole(t testing.TB, s *edit.Sealed) {
	t.Helper()
	tree, err := oci.Graph{Root: s.Root, Source: s}.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tree.Manifests {
		if m.IsIndex() || m.Config == nil || !oci.IsConfig(m.Config.MediaType) {
			continue
		}
		docker := oci.IsDocker(m.Descriptor.MediaType)
		for _, d := range m.Children() {
			if oci.IsDocker(d.MediaType) != docker {
				t.Errorf("%s is in %s", d.MediaType, m.Descriptor.MediaType)
			}
			if _, err := s.Stat(t.Context(), d); err != nil {
				t.Errorf("%s: %v", d.MediaType, err)
			}
		}
		raw, err := oci.ReadAll(t.Context(), s, *m.Config, oci.MaxConfig)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(raw, &c); err != nil || len(c.RootFS.DiffIDs) != len(m.Layers) {
			t.Errorf("%d layers, %v, %s", len(m.Layers), err, raw)
		}
	}
}

// text is a manifest as it was sealed.
func text(t testing.TB, s *edit.Sealed, d oci.Descriptor) string {
	t.Helper()
	raw, err := oci.ReadAll(t.Context(), s, d, oci.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// configText is the config of a sealed image.
func configText(t testing.TB, s *edit.Sealed) string {
	t.Helper()
	m, err := oci.Fetch(t.Context(), s, s.Root)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, s, *m.Config)
}

// samples are graphs of many forms.
func samples() (s shelf, roots map[string]oci.Descriptor) {
	s, roots = shelf{}, map[string]oci.Descriptor{}
	for seed := range uint64(4) {
		roots[fmt.Sprint("image ", seed)] = s.fill(ocitest.Image(seed, int(seed), 100))
		roots[fmt.Sprint("index ", seed)] = s.fill(ocitest.Index(seed))
	}
	roots["artifact"] = s.fill(ocitest.Artifact(1, "application/x", nil))
	subject := roots["image 1"]
	more := fmt.Sprintf(` "annotations": {"b":"<>","a":"1"}, "subject": {"digest":%q,"size":%d,"mediaType":%q},`, subject.Digest, subject.Size, subject.MediaType)
	oci1, docker := s.image(rich, 2, false, more), s.image(rich, 2, true, "")
	roots["pretty"], roots["pretty docker"] = oci1, docker
	arm := s.image(strings.Replace(rich, "amd64", "arm64", 1), 2, false, "")
	about := s.fill(ocitest.Artifact(2, "application/vnd.in-toto+json", nil))
	note := fmt.Sprintf(`"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.digest":%q}`, arm.Digest)
	roots["built"] = s.index(false, []oci.Descriptor{oci1, arm, about, roots["artifact"]},
		`"platform": {"x":1,"os":"linux","architecture":"amd64"}`, `"platform":{"architecture":"arm64","os":"linux","variant":"v8"}`, note)
	roots["docker list"] = s.index(true, []oci.Descriptor{docker}, `"platform": {"os":"linux","architecture":"amd64","features":["sse4"]}`)
	roots["nested"] = s.index(false, []oci.Descriptor{roots["built"], oci1})
	roots["twice"] = s.index(false, []oci.Descriptor{oci1, oci1}, `"platform":{"os":"linux","architecture":"amd64"}`, `"platform":{"os":"linux","architecture":"386"}`)
	return s, roots
}

func TestUneditedKeepsItsDigest(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	for name, d := range roots {
		if got := seal(t, load(t, s, d)).Root; got.Digest != d.Digest || got.Size != d.Size || got.MediaType != d.MediaType {
			t.Errorf("%s: %v, want %v", name, got, d)
		}
	}
}

// What is set already, and taken out where it is not, changes no byte.
func TestNothingNewKeepsTheDigest(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	for name, d := range roots {
		n := load(t, s, d)
		for _, i := range edit.Images(n) {
			if i.IsArtifact() {
				continue
			}
			c, err := i.Config()
			if err != nil {
				t.Fatal(err)
			}
			edits := []edit.Edit{edit.SetPlatform(c.Platform), edit.RemoveEnv("NOT"), edit.RemoveLabel("not"), edit.Unset(edit.User), edit.RemovePort("80"),
				edit.RemoveVolume("/x"), edit.RemoveAnnotation("not"), edit.SetCreated(*c.Created)}
			for k, v := range c.Config.Labels {
				edits = append(edits, edit.SetLabel(k, v))
			}
			for _, v := range c.Config.Env {
				k, v, _ := strings.Cut(v, "=")
				edits = append(edits, edit.SetEnv(k, v))
			}
			if strings.Contains(string(i.RawConfig()), "Healthcheck") {
				edits = append(edits, edit.SetHealthcheck(json.RawMessage(`{"StartInterval":5000000000,"Test":["CMD","true"]}`)), edit.SetCmd("a,b"))
			}
			apply(t, i, edits...)
		}
		if got := seal(t, n).Root; got.Digest != d.Digest {
			t.Errorf("%s: became %s", name, text(t, seal(t, n), got))
		}
	}
}

func TestAppendThenRemoveIsTheIdentity(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	blob := oci.Bytes(oci.MediaLayerGzip, []byte("new"))
	l := edit.Layer{Descriptor: blob.Descriptor(), DiffID: oci.FromBytes([]byte("new")), Blob: blob}
	for _, name := range []string{"image 1", "image 3", "pretty", "pretty docker", "built", "twice", "docker list"} {
		d := roots[name]
		n := apply(t, load(t, s, d), edit.Append(l, edit.History{CreatedBy: "me"}))
		mid := seal(t, n)
		if mid.Root.Digest == d.Digest {
			t.Errorf("%s: append changed nothing", name)
		}
		again := load(t, mid, mid.Root)
		for _, n := range []edit.Node{n, again} {
			for _, i := range edit.Images(n) {
				apply(t, i, edit.RemoveLayer(len(i.Layers())-1))
			}
		}
		if name == "built" { // its attestation went with the append
			continue
		}
		for _, n := range []edit.Node{n, again} {
			if got := seal(t, n); got.Root.Digest != d.Digest {
				t.Errorf("%s: became\n%s\nfrom\n%s", name, text(t, got, got.Root), s[d.Digest])
			}
		}
	}
}

// One label in a config that others wrote: every other byte is as it was.
func TestOneEditOneChange(t *testing.T) {
	t.Parallel()
	s := shelf{}
	more := ` "annotations": {"b":"<>","a":"1"}, "subject": {"digest":"sha256:` + strings.Repeat("a", 64) + `","size":3,"mediaType":"` + oci.MediaManifest + `"},`
	d := s.image(rich, 2, false, more)
	n := apply(t, load(t, s, d), edit.SetLabel("a", "<new>"))
	got := seal(t, n)
	was, _ := oci.Fetch(t.Context(), s, d)
	oldConfig, _ := oci.ReadAll(t.Context(), s, *was.Config, 1<<20)
	want := strings.Replace(string(oldConfig), `"a": "<&>"`, `"a": "<new>"`, 1)
	if have := configText(t, got); have != want {
		t.Errorf("config became\n%s\nwant\n%s", have, want)
	}
	c := oci.Bytes(oci.MediaConfig, []byte(want)).Descriptor()
	manifest := strings.Replace(string(was.Raw), string(was.Config.Digest), string(c.Digest), 1)
	manifest = strings.Replace(manifest, fmt.Sprintf(`"config": {"size": %d`, was.Config.Size), fmt.Sprintf(`"config": {"size": %d`, c.Size), 1)
	if have := text(t, got, got.Root); have != manifest {
		t.Errorf("manifest became\n%s\nwant\n%s", have, manifest)
	}
	if m, _ := oci.Fetch(t.Context(), got, got.Root); m.Subject == nil || m.Subject.Size != 3 {
		t.Error("the subject is gone")
	}
	if !bytes.Contains(was.Raw, []byte(`"x-own": 1`)) {
		t.Error("the fixture lost its unknown members")
	}
}

func TestAttestationsOfWhatChanged(t *testing.T) {
	t.Parallel()
	s := shelf{}
	amd, arm := s.image(rich, 1+1, false, ""), s.image(strings.Replace(rich, "amd64", "arm64", 1), 2, false, "")
	about := func(seed uint64, d oci.Descriptor) (oci.Descriptor, string) {
		return s.fill(ocitest.Artifact(seed, "application/vnd.in-toto+json", nil)),
			fmt.Sprintf(`"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.digest":%q}`, d.Digest)
	}
	a1, n1 := about(1, amd)
	a2, n2 := about(2, arm)
	art := s.fill(ocitest.Artifact(3, "application/x", nil))
	d := s.index(false, []oci.Descriptor{amd, arm, a1, a2, art}, `"platform":{"os":"linux","architecture":"amd64"}`, `"platform":{"os":"linux","architecture":"arm64"}`, n1, n2)
	n, err := edit.Load(t.Context(), s, d, edit.Options{Choose: func(d oci.Descriptor) bool { return d.Platform != nil && d.Platform.Architecture == "arm64" }})
	if err != nil {
		t.Fatal(err)
	}
	got := seal(t, apply(t, n, edit.SetUser("1")))
	m, _ := oci.Fetch(t.Context(), got, got.Root)
	if len(m.Manifests) != 4 || m.Manifests[0].Digest != amd.Digest || m.Manifests[1].Digest == arm.Digest || m.Manifests[2].Digest != a1.Digest || m.Manifests[3].Digest != art.Digest {
		t.Errorf("index is %s", m.Raw)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], string(a2.Digest)) {
		t.Errorf("notes %q", got.Notes)
	}
}

// A child that is there twice, and of which one is changed, is still there: so
// what speaks about it stays.
func TestAttestationOfATwin(t *testing.T) {
	t.Parallel()
	s := shelf{}
	img := s.image(rich, 2, false, "")
	att := s.fill(ocitest.Artifact(1, "application/vnd.in-toto+json", nil))
	d := s.index(false, []oci.Descriptor{img, img, att}, `"platform":{"os":"linux","architecture":"amd64"}`, `"platform":{"os":"linux","architecture":"386"}`,
		fmt.Sprintf(`"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.digest":%q}`, img.Digest))
	n, err := edit.Load(t.Context(), s, d, edit.Options{Choose: func(d oci.Descriptor) bool { return d.Platform.Architecture == "386" }})
	if err != nil {
		t.Fatal(err)
	}
	got := seal(t, apply(t, n, edit.SetUser("1")))
	if m, _ := oci.Fetch(t.Context(), got, got.Root); len(m.Manifests) != 3 || m.Manifests[0].Digest != img.Digest || m.Manifests[1].Digest == img.Digest {
		t.Errorf("index is %s", m.Raw)
	}
}

// The entry of an index follows the platform of the config, and keeps what it
// says beyond that.
func TestEntryPlatformIsRenewed(t *testing.T) {
	t.Parallel()
	s := shelf{}
	config := strings.NewReplacer("linux", "windows", `"os.features": ["f"]`, `"os.version": "10.0.17763.1"`).Replace(rich)
	d := s.index(false, []oci.Descriptor{s.image(config, 2, false, "")}, `"platform": {"x": 1, "os": "windows","architecture":"amd64", "os.version":"10.0.17763.1", "variant": "v2"}`)
	got := seal(t, apply(t, load(t, s, d), edit.SetOSVersion("10.0.20348.5"), edit.SetOSFeatures("win32k")))
	if raw := text(t, got, got.Root); !strings.Contains(raw, `"platform": {"x": 1, "os": "windows","architecture":"amd64", "os.version":"10.0.20348.5", "variant": "v2", "os.features": ["win32k"]}`) {
		t.Error(raw)
	}
	got = seal(t, apply(t, load(t, s, d), edit.SetPlatform(oci.Platform{OS: "linux", Architecture: "arm", Variant: "v7"})))
	if raw := text(t, got, got.Root); !strings.Contains(raw, `"platform": {"x": 1, "os": "linux","architecture":"arm", "variant": "v7"}`) {
		t.Error(raw)
	}
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	roots["pretty"] = s.image(rich, 2, false, "") // without what Docker's cannot have
	roots["twice"] = s.index(false, []oci.Descriptor{roots["pretty"], roots["pretty"]}, `"platform":{"os":"linux","architecture":"amd64"}`, `"platform":{"os":"linux","architecture":"386"}`)
	for _, name := range []string{"pretty", "pretty docker", "docker list", "index 1", "twice"} {
		d := roots[name]
		n := load(t, s, d)
		for _, docker := range []bool{!oci.IsDocker(d.MediaType), oci.IsDocker(d.MediaType)} {
			if err := edit.ToFamily(n, docker); err != nil {
				t.Fatal(err)
			}
			got := seal(t, n)
			if oci.IsDocker(got.Root.MediaType) != docker {
				t.Errorf("%s: became %s", name, got.Root.MediaType)
			}
			if docker == oci.IsDocker(d.MediaType) && got.Root.Digest != d.Digest {
				t.Errorf("%s: there and back became %s", name, text(t, got, got.Root))
			}
		}
	}
	if err := edit.ToFamily(load(t, s, roots["built"]), true); err == nil {
		t.Error("an artifact got Docker's media types")
	}
}

func TestSealAgain(t *testing.T) {
	t.Parallel()
	s, roots := samples()
	n := load(t, s, roots["pretty"])
	if first := seal(t, apply(t, n, edit.SetUser("9"))); first.Root.Digest == roots["pretty"].Digest {
		t.Error("nothing changed")
	}
	if got := seal(t, apply(t, n, edit.Unset(edit.User))); got.Root.Digest != roots["pretty"].Digest {
		t.Errorf("became %s", text(t, got, got.Root))
	}
}
