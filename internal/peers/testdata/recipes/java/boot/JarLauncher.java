// SPDX-License-Identifier: Apache-2.0

package org.springframework.boot.loader.launch;

import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.Manifest;

/** Does what Spring Boot's launcher does with an archive that was taken apart. */
public class JarLauncher {
    public static void main(String[] args) throws Exception {
        Path root = Path.of(JarLauncher.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        List<URL> path = new ArrayList<>();
        path.add(root.resolve("BOOT-INF/classes/").toUri().toURL());
        for (String line : Files.readAllLines(root.resolve("BOOT-INF/classpath.idx"))) {
            path.add(root.resolve(line.substring(3, line.length() - 1)).toUri().toURL());
        }
        String main;
        try (var in = Files.newInputStream(root.resolve("META-INF/MANIFEST.MF"))) {
            main = new Manifest(in).getMainAttributes().getValue("Start-Class");
        }
        var loader = new URLClassLoader(path.toArray(new URL[0]));
        Thread.currentThread().setContextClassLoader(loader);
        loader.loadClass(main).getMethod("main", String[].class).invoke(null, (Object) args);
    }
}
