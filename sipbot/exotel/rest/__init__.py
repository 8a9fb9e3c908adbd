"""Exotel's REST interfaces: a typed client, and trunks brought to the state that a file describes.

::

    account = Account("acme1", api_key="...", api_token="...", region=Region.MUMBAI)
    async with ExotelClient(account) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        await exotel.trunks.add_number(trunk.sid, "+918012345678", Mode.PSTN)

``client`` joins ``trunks`` (v2), ``calls`` (v1), ``legs`` (v2), ``lookups`` (streams, ExoPhones).
``requester`` sends and repeats, ``envelope`` and ``v1`` read answers, ``errors`` names failures.
``trunkfile``, ``state``, ``plan`` and ``apply`` bring a trunk to the state of a file; ``doctor``
looks for what would keep calls from arriving.
"""
