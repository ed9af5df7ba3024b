"""A PostgreSQL server of a test's own, reached through a socket in its folder; it ends with the test."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .process import tail, wait_until

BIN = Path(os.environ.get("GENESIS_PG_BIN", "/usr/lib/postgresql/15/bin"))


def as_postgres():
    """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    def __init__(self):
        assert (BIN / "postgres").exists(), f"no PostgreSQL 15 server in {BIN}: run scripts/setup --tests"
        roomy = Path("/dev/shm")
        spare = shutil.disk_usage(roomy).free if roomy.is_dir() else 0
        # A short path: a socket's may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="genesis-pg-", dir=roomy if spare > 1 << 30 else None))
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.log = self.folder / "log"
        self.server = None
        initdb = ["--pgdata", self.folder / "data", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [BIN / "initdb", *initdb, "--username=postgres", "--no-sync"],
            capture_output=True, text=True, cwd=self.folder, **as_postgres(),
        )
        assert done.returncode == 0, done.stderr

    def url(self, database="postgres"):
        return f"postgresql:///{database}?host={self.folder}&user=postgres"

    def sql(self, text, database="postgres"):
        done = subprocess.run(
            [BIN / "psql", "-qAtX", "-d", self.url(database), "-c", text], capture_output=True, text=True, timeout=30
        )
        return done.stdout.strip() if done.returncode == 0 else None

    def start(self):
        options = ["-c", "listen_addresses=", "-c", "fsync=on", "-c", "shared_buffers=32MB"]
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                [BIN / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdout=log, stderr=log, cwd=self.folder, **as_postgres(),
            )
        try:
            wait_until(lambda: self.sql("SELECT 1") == "1", 60, "PostgreSQL is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{tail(self.log)}") from error
        return self

    def stop(self, how=signal.SIGQUIT):
        """SIGQUIT: as a crash; SIGINT: an orderly end that cuts all connections."""
        self.server.send_signal(how)
        self.server.wait(30)
        self.server = None

    def end(self):
        if self.server:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
