"""Mailboxes and public folders of Exchange, by Exchange Web Services (EWS): SOAP over HTTPS.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/ews-reference-for-exchange
"""
