"""Grafana dashboards as code: ``python -m grafana_dashboards`` (or ``make dashboards``) writes the JSON files.

``anomalies.json`` shows the anomalies, ``service.json`` those of one service, ``exporter.json`` the health of the
exporter. Import them in Grafana, or provision them as deploy/docker does.
"""
