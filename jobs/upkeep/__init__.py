"""What is looked after, day by day.

    books            whether everything adds up
    figures          numbers for staff and owners, at a bounded cost
    leaving          all of a person who goes
    control_signs    the signs of life of control's loops

None of it moves a job, but for those of people who have left.
"""
