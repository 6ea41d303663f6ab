// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// What a layer is packed with in the end, by how it comes and what is asked for.
func TestPacking(t *testing.T) {
	t.Parallel()
	gzip, zstd := layer.Packing{Compression: layer.Gzip}, layer.Packing{Compression: layer.Zstd}
	onMerged := input.Onto{Ground: merged}
	tests := []struct {
		name  string
		comes layer.Compression
		o     input.Options
		onto  input.Onto
		want  string
		asIs  bool
	}{
		{"plain", layer.None, input.Options{}, input.Onto{}, oci.MediaLayerGzip, false},
		{"plain, zstd asked for", layer.None, input.Options{Packing: zstd}, input.Onto{}, oci.MediaLayerZstd, false},
		{"plain, none asked for", layer.None, input.Options{Packing: layer.Packing{Compression: layer.None}}, input.Onto{}, oci.MediaLayer, true},
		{"plain, estargz asked for", layer.None, input.Options{Packing: layer.Packing{Estargz: true}}, onMerged, oci.MediaLayerGzip, false},
		{"gzip", layer.Gzip, input.Options{}, input.Onto{}, oci.MediaLayerGzip, true},
		{"gzip, zstd asked for", layer.Gzip, input.Options{Packing: zstd}, input.Onto{}, oci.MediaLayerGzip, true},
		{"gzip, all packed again", layer.Gzip, input.Options{Packing: zstd, Repack: true}, input.Onto{}, oci.MediaLayerZstd, false},
		{"gzip that does not fit", layer.Gzip, input.Options{}, onMerged, oci.MediaLayerGzip, false},
		{"gzip that does not fit, blind", layer.Gzip, input.Options{Blind: true}, onMerged, oci.MediaLayerGzip, true},
		{"gzip that is a layer", layer.Gzip, input.Options{Exact: true}, onMerged, oci.MediaLayerGzip, true},
		{"gzip that is too new", layer.Gzip, input.Options{Clamp: time.Unix(5, 0)}, input.Onto{}, oci.MediaLayerGzip, false},
		{"gzip for Windows", layer.Gzip, input.Options{}, input.Onto{Windows: true}, oci.MediaLayerGzip, false},
		{"zstd", layer.Zstd, input.Options{}, input.Onto{}, oci.MediaLayerZstd, true},
		{"zstd that does not fit", layer.Zstd, input.Options{}, onMerged, oci.MediaLayerZstd, false},
		{"zstd that does not fit, gzip asked for", layer.Zstd, input.Options{Packing: gzip}, onMerged, oci.MediaLayerGzip, false},
		{"zstd, all packed again", layer.Zstd, input.Options{Repack: true}, input.Onto{}, oci.MediaLayerZstd, false},
		{"bzip2", layer.Bzip2, input.Options{}, input.Onto{}, oci.MediaLayerGzip, false},
		{"xz", layer.XZ, input.Options{}, input.Onto{}, oci.MediaLayerGzip, false},
		{"xz, zstd asked for", layer.XZ, input.Options{Packing: zstd}, input.Onto{}, oci.MediaLayerZstd, false},
	}
	plain := makeTar(t, text("app"), text("lib/x"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw := packed(t, tt.comes, plain)
			l := made(t, maker(t, tt.o), input.File(inFile(t, raw)), tt.onto)
			if got := l.Descriptor().MediaType; got != tt.want {
				t.Errorf("media type %s, want %s", got, tt.want)
			}
			if got := bytes.Equal(content(t, l), raw); got != tt.asIs {
				t.Errorf("it is as it came: %t, want %t", got, tt.asIs)
			}
			unpacked(t, l)
		})
	}
}

// A layer goes where the links of its base lead.
func TestPaths(t *testing.T) {
	t.Parallel()
	plain := makeTar(t, text("app"), entry{name: "lib/"}, text("lib/x"), text("new/y"))
	tests := []struct {
		name string
		onto input.Onto
		want string
	}{
		{"on nothing known", input.Onto{}, "app lib lib/x new/y"},
		{"on a merged /usr", input.Onto{Ground: merged}, "app usr/lib/x new new/y"},
		{"on Windows", input.Onto{Windows: true, Ground: merged}, "Files Hives Files/app Files/lib Files/lib/x Files/new Files/new/y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := made(t, maker(t, input.Options{}), input.File(inFile(t, plain)), tt.onto)
			if got := names(t, unpacked(t, l)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// The same bytes make the same layer, whether they are a file, a stream or what
// another process has made a layer of.
func TestSameBytesSameLayer(t *testing.T) {
	t.Parallel()
	raw := makeTar(t, text("app"), text("lib/x"))
	onto := input.Onto{Ground: merged}
	one := made(t, maker(t, input.Options{}), input.File(inFile(t, raw)), onto)
	two := made(t, maker(t, input.Options{}), input.Stream("stdin", bytes.NewReader(raw)), onto)
	if one.Descriptor().Digest != two.Descriptor().Digest || one.DiffID != two.DiffID || one.Entries != 2 || two.Entries != one.Entries {
		t.Errorf("file: %+v, stream: %+v", one.Descriptor(), two.Descriptor())
	}
}
