"""Items as Outlook and Exchange keep them (MAPI), and the message that each of them was. Pure: no input or output."""
