"""Clients of the cloud services: signed `requests` without the vendor's SDKs.

    PaiAutoMl    Smq      Tablestore       one class per service, in paiautoml, smq and tablestore
    experiments  xml       ots_wire        what their requests and answers contain
        └──────────┼────────────┘
              ServiceClient                caller: sign, send, read, repeat if that is safe
           signing ├ answers               credentials and signatures; which error an answer reports
               Transport                   transport: one exchange; decides whether it was *not sent* or is *unknown*
              _Connection                  connections: the pool, which records whether a byte has left

A call goes down this picture once for each try. Everything below a client is shared: build one transport for an
instance of the function, and clients over it for each invocation.

The package imports none of its modules, so that a program loads only the clients it uses.
"""
