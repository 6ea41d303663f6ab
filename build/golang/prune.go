// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPause = 20 * time.Millisecond // between two looks at a lock that another process has
	keepFor   = 30 * 24 * time.Hour   // what nobody has built again
)

// prune removes programs that have not been built for a long time. That some stay
// does no harm.
func prune(all, mine string) {
	list, err := os.ReadDir(all)
	if err != nil {
		return
	}
	for _, d := range list {
		dir := filepath.Join(all, d.Name())
		info, err := d.Info()
		if err != nil || dir == mine || !d.IsDir() || time.Since(info.ModTime()) < keepFor {
			continue // its names change whenever it is built
		}
		lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue
		}
		for _, name := range []string{"out", "done"} { // the lock stays: another process may just be waiting for it
			_ = os.Remove(filepath.Join(dir, name))
		}
		_ = lock.Unlock()
	}
}
