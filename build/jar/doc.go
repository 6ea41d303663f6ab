// SPDX-License-Identifier: Apache-2.0

// Package jar builds images of Java archives.
package jar
