// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPlanIsData compares a plan with everything in it with what it was, again
// and again on different numbers of processors. It is not parallel, as that
// number is the process's.
func TestPlanIsData(t *testing.T) {
	world := ocitest.Symbols(t, zoo+"late = artifact note type=application/x subject=index\n")
	src, far, host := repo(t, mem.New(), "src"), mem.New(), mem.New()
	for _, name := range []string{"image", "index", "nested", "docker", "remote", "twice"} {
		push(t, src, world.Fixture(name), name)
	}
	push(t, src, world.Fixture("late"))
	if err := src.Tag(t.Context(), cosign(world.Fixture("image").Root.Digest, ".sig"), world.Fixture("docker").Root); err != nil {
		t.Fatal(err)
	}
	push(t, repo(t, far, "other"), ocitest.Image(7, 2, 100), "v1")
	push(t, repo(t, host, "have"), world.Fixture("image"), "same")
	push(t, repo(t, host, "have"), world.Fixture("docker"), "taken")
	put(t, repo(t, host, "b"), world.Fixture("twice").Layers()[1])
	jobs := []transfer.Job{
		job(src, "image", repo(t, host, "have"), "same"), job(src, "index", repo(t, host, "have"), "taken"),
		job(src, "index", repo(t, host, "a"), "v1"), job(src, "nested", repo(t, host, "a"), "v2"),
		job(src, "twice", repo(t, host, "b"), "v1"), job(src, "remote", repo(t, host, "b"), "v2"),
		job(repo(t, far, "other"), "v1", repo(t, far, "copy"), "v1"), job(src, "docker", repo(t, mem.New(), "z"), ""),
	}
	golden := filepath.Join("testdata", "plan.json")
	procs := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(procs)
	for i := range 50 {
		runtime.GOMAXPROCS(1 + i%8)
		p, err := transfer.Make(t.Context(), jobs, transfer.Options{Referrers: true, NoClobber: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(struct {
			*transfer.Plan
			Totals transfer.Totals
		}{p, p.Totals()}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != string(got)+"\n" {
			t.Fatalf("run %d: plan differs from %s (go test -update): %v\n%s", i, golden, err, got)
		}
	}
}
