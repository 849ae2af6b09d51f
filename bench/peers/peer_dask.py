"""The peer Dask distributed: a scheduler and two worker processes with one thread each, over TCP in clear text.

    peer_dask.py MODE SECONDS

MODE: round_trip, rate_16, map8. Runs under the Python that Debian's package is for.
"""

import logging
import sys
import tempfile

import dask.bag
import distributed
from peer_python import PAYLOAD, MEASURES, PROCESSES, noop

START_TIMEOUT_S = 15


class DaskPeer:
    """submit for one task, map for many, a bag (whose default is about a hundred partitions) for chunks."""

    name = "dask"

    def __init__(self):
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self.directory = tempfile.TemporaryDirectory(prefix="netpool-bench-")
        self.cluster = distributed.LocalCluster(n_workers=PROCESSES, threads_per_worker=1, processes=True,
                                                host="127.0.0.1", dashboard_address=None,
                                                local_directory=self.directory.name)
        self.client = distributed.Client(self.cluster, timeout=START_TIMEOUT_S)
        self.client.wait_for_workers(PROCESSES)
        self.call(noop, PAYLOAD)

    def call(self, function, argument):
        return self.client.submit(function, argument, pure=False).result()

    def each(self, function, arguments):
        self.client.gather(self.client.map(function, arguments, pure=False))

    def map(self, function, arguments):
        return dask.bag.from_sequence(arguments).map(function).compute()

    def close(self):
        self.client.close()
        self.cluster.close()
        self.directory.cleanup()


def main():
    peer = DaskPeer()
    try:
        MEASURES[sys.argv[1]](peer, sys.argv[1], float(sys.argv[2]))
    finally:
        peer.close()


if __name__ == "__main__":
    main()
