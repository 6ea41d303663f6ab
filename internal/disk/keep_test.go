// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dray-tools/dray/internal/disk"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "note")
	for _, text := range []string{"one", "two"} {
		if err := disk.Keep(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
			t.Errorf("kept %q, %v", raw, err)
		}
	}
	bad := errors.New("bad")
	if err := disk.Keep(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return bad }); err != bad {
		t.Errorf("got %v", err)
	}
	list, err := os.ReadDir(filepath.Dir(path))
	if raw, _ := os.ReadFile(path); err != nil || len(list) != 1 || string(raw) != "two" {
		t.Errorf("after a failure %q, %v, %v", raw, list, err)
	}
}
