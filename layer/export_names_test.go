// SPDX-License-Identifier: Apache-2.0

package layer

// WindowsName is for the tests.
var WindowsName = windowsName
