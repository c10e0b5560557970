"""Names of Services, as a cluster's DNS answers them: what pods on the node ask.

It knows Services with an address, and the pods behind a headless one, and asks the API server for
each question. All other names do not exist: nothing of the node reaches further.
"""

import http.client
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from support.node.controlplane import DOMAIN

__all__ = ["serve"]

_PORT = 53
_TTL_SECONDS = 5
_ASK_SECONDS = 5.0
_LARGEST = 4096
_SUFFIX = dns.name.from_text(f"svc.{DOMAIN}")


class _Cluster:
    """The API server, as far as names need it."""

    def __init__(self, host: str, port: int, *, authority: Path, token: str) -> None:
        self._where = (host, port)
        self._context = ssl.create_default_context(cafile=str(authority))
        # Python's strict mode refuses what the node's authority is meant to be like.
        self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._headers = {"Authorization": f"Bearer {token}"}

    def addresses(self, namespace: str, service: str) -> list[str] | None:
        """Return the addresses of a Service, None where there is none."""
        path = f"/api/v1/namespaces/{namespace}"
        found = self._get(f"{path}/services/{service}")
        if not found:
            return None
        address = found["spec"].get("clusterIP")
        if address != "None":
            return [address] if address else []
        slices = self._get(
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            f"?labelSelector=kubernetes.io/service-name={service}"
        )
        endpoints = [each for item in slices["items"] for each in item["endpoints"] or ()]
        ready = [each for each in endpoints if each.get("conditions", {}).get("ready")]
        return sorted({address for each in ready for address in each["addresses"]})

    def _get(self, path: str) -> dict[str, Any]:
        host, port = self._where
        connection = http.client.HTTPSConnection(
            host, port, context=self._context, timeout=_ASK_SECONDS
        )
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            content: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        return content if answer.status == http.client.OK else {}


def serve(address: str, *, port: int, authority: Path, token: str) -> None:
    """Answer questions at `address` from now on; `port` is the API server's there."""
    cluster = _Cluster(address, port, authority=authority, token=token)
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind((address, _PORT))
    threading.Thread(target=_answer, args=(listening, cluster), name="names", daemon=True).start()


def _answer(listening: socket.socket, cluster: _Cluster) -> None:
    while True:
        data, asker = listening.recvfrom(_LARGEST)
        try:
            query = dns.message.from_wire(data)
            answer = _answered(query, cluster)
        except (dns.exception.DNSException, IndexError):
            continue  # no question
        listening.sendto(answer.to_wire(), asker)


def _answered(query: dns.message.Message, cluster: _Cluster) -> dns.message.Message:
    question = query.question[0]
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA | dns.flags.AA
    if not question.name.is_subdomain(_SUFFIX):
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
    labels = [label.decode() for label in question.name.relativize(_SUFFIX).labels]
    if len(labels) != 2:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
    try:
        addresses = cluster.addresses(labels[1], labels[0])
    except (OSError, http.client.HTTPException, ValueError):
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer
    if addresses is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif addresses and question.rdtype == dns.rdatatype.A:
        answer.answer.append(
            dns.rrset.from_text_list(question.name, _TTL_SECONDS, "IN", "A", addresses)
        )
    return answer
